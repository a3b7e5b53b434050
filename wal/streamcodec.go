package wal

// streamState is a stream's entry of the state: where the stream stood when the segment began.
//
//	next offset, bytes
type streamState struct {
	next  uint64 // the offset of the stream's next event
	bytes uint64 // of all payloads appended before it
}

// append encodes the entry.
func (s streamState) append(b []byte) []byte { return appendNumbers(b, s.next, s.bytes) }

// decode decodes the result of append.
func (s *streamState) decode(b []byte) error {
	d := decoder{b: b}
	s.next, s.bytes = d.number(), d.number()
	return d.err()
}

// appended returns the events and bytes that were appended before the segment began.
func (s streamState) appended() Count { return Count{max(s.next, 1) - 1, s.bytes} }

// branchBeginning is where a branch of a stream's offsets begins, and the branch's name.
type branchBeginning struct {
	First uint64
	Name  string
}

// appendBranches encodes a stream's branches, an entry of the state:
//
//	n × (first offset, name)
func appendBranches(b []byte, all []branchBeginning) []byte {
	b = appendNumbers(b, uint64(len(all)))
	for _, branch := range all {
		b = appendText(appendNumbers(b, branch.First), branch.Name)
	}
	return b
}

// decodeBranches decodes the result of appendBranches.
func decodeBranches(b []byte) (all []branchBeginning, err error) {
	d := decoder{b: b}
	for range d.length() {
		all = append(all, branchBeginning{First: d.number(), Name: string(d.text())})
	}
	return all, d.err()
}

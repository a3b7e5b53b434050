package segment

// StreamState is a stream's entry of the state: the end of the stream when the segment began.
//
//	next offset, bytes
type StreamState struct {
	Next  uint64 // the offset of the stream's next event
	Bytes uint64 // of all payloads appended before it
}

// Append encodes the entry.
func (s StreamState) Append(b []byte) []byte { return AppendNumbers(b, s.Next, s.Bytes) }

// Decode decodes the result of Append.
func (s *StreamState) Decode(b []byte) error {
	d := Decoder{Rest: b}
	s.Next, s.Bytes = d.Number(), d.Number()
	return d.err()
}

// Appended returns the events and bytes that were appended before the segment began.
func (s StreamState) Appended() Count { return Count{max(s.Next, 1) - 1, s.Bytes} }

// BranchBeginning is where a branch of a stream's offsets begins, and the branch's name.
type BranchBeginning struct {
	First uint64
	Name  string
}

// AppendBranches encodes a stream's branches, an entry of the state:
//
//	n × (first offset, name)
func AppendBranches(b []byte, all []BranchBeginning) []byte {
	b = AppendNumbers(b, uint64(len(all)))
	for _, branch := range all {
		b = AppendText(AppendNumbers(b, branch.First), branch.Name)
	}
	return b
}

// DecodeBranches decodes the result of AppendBranches.
func DecodeBranches(b []byte) (all []BranchBeginning, err error) {
	d := Decoder{Rest: b}
	for range d.length() {
		all = append(all, BranchBeginning{First: d.Number(), Name: string(d.Text())})
	}
	return all, d.err()
}

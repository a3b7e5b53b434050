package segment

// Count is a number of events and the bytes of their payloads.
type Count struct {
	Events, Bytes uint64
}

// Add adds o to c.
func (c *Count) Add(o Count) { c.Events += o.Events; c.Bytes += o.Bytes }

// Sub returns c minus o.
func (c Count) Sub(o Count) Count { return Count{c.Events - o.Events, c.Bytes - o.Bytes} }

// Plus returns the sum of c and o.
func (c Count) Plus(o Count) Count { return Count{c.Events + o.Events, c.Bytes + o.Bytes} }

// Beyond returns the amount by which c exceeds o, and 0 for a number that does not.
func (c Count) Beyond(o Count) Count {
	return Count{c.Events - min(c.Events, o.Events), c.Bytes - min(c.Bytes, o.Bytes)}
}

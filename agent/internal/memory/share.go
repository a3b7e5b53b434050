package memory

const (
	// ofShippers and ofRequests are the parts of Bound.Runtime for the events of all shippers, and for the requests of one
	// listener. The events of a request to a destination are held up to three times: as events, as records and as the body.
	ofShippers = 1.0 / 6
	ofRequests = 1.0 / 4
	// leastShipper keeps a destination useful among many others: requests of half a MiB.
	leastShipper = 2 << 20
)

// ForShipper returns the bytes of events that a shipper may hold, of n open ones: usual, or less with a small bound.
func (b Bound) ForShipper(usual, n int) int {
	if b.Bytes == 0 {
		return usual
	}
	share := int64(float64(b.Runtime())*ofShippers) / int64(max(n, 1))
	return int(min(int64(usual), max(share, leastShipper)))
}

// ForRequests returns the bytes of the requests that a listener may hold, whose largest has the given size: usual, or less
// with a small bound.
func (b Bound) ForRequests(usual, largest int64) int64 {
	if b.Bytes == 0 {
		return usual
	}
	return min(usual, max(int64(float64(b.Runtime())*ofRequests), largest))
}

package shipper

// Held returns the bytes of the events that s holds. Nothing of s may run meanwhile.
func (s *Shipper) Held() int { return s.held }

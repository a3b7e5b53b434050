package kafka

import "time"

// SetTransactionTimeout changes the time after which the brokers abort a transaction, and shortens the wait after that.
func (s *Exact) SetTransactionTimeout(d time.Duration) { s.timeout, s.doubt = d, 300*time.Millisecond }

// SetUnstableFor changes the time after which a checkpoint without an end counts as hanging.
func (s *Exact) SetUnstableFor(d time.Duration) { s.unstable = d }

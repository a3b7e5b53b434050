package kafka

import "time"

// SetTransactionTimeout changes the time after which the brokers abort a transaction.
func (s *Exact) SetTransactionTimeout(d time.Duration) { s.timeout = d }

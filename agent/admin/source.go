package admin

// Source is what an agent tells about itself. Its methods are called from several goroutines at
// once, also while the agent starts and stops, and must not wait for a disk or a service.
type Source interface {
	// Status returns a consistent snapshot: in it, the ledger of every destination balances.
	Status() Status
	// Live returns nil while the process makes progress, else why it does not.
	Live() error
	// Ready returns nil while events are accepted, else why not: starting, draining, failed or full.
	Ready() error
}

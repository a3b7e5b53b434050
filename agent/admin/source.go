package admin

// Source is the state of an agent. Its methods are called concurrently, also while the agent starts and stops, and must not
// wait for a disk or a service.
type Source interface {
	// Status returns a consistent snapshot, in which the ledger of every destination balances.
	Status() Status
	// Live returns nil while the process makes progress, else the reason.
	Live() error
	// Ready returns nil while events are accepted, else the reason: starting, draining, failed or full.
	Ready() error
}

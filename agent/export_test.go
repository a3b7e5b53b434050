package agent

// Checkpoint makes the last settlements durable.
func (a *Agent) Checkpoint() error { return a.streams.checkpoint() }

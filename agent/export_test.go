package agent

// Checkpoint makes the last settlements durable.
func (a *Agent) Checkpoint() error { return a.streams.checkpoint() }

// SetLink sets the link up or down, as the admin listener does.
func (a *Agent) SetLink(up bool) { a.uplink.SetLink(up) }

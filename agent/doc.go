// Package agent puts standpipe together: the log, the listeners that producers dial, a shipper for
// each destination of each stream, and the admin endpoints that operators look at.
//
// # Life
//
// New opens the log and binds every listener; when it returns nothing has been accepted yet. Run
// serves until its context ends or the log fails. Reload changes streams, destinations and
// listeners while it runs. Close lets go of everything.
//
// Stopping goes in this order, so that nothing that was acked is lost and as little as possible is
// left: not ready any more; no new connections and requests; appends that were taken are finished
// and answered; events are shipped for up to shutdown_timeout; requests still under way
// are cut off; checkpoint; close. A destination that is blocked and delivers nothing is not waited for. The number of
// events that remain in the log is logged. Abort skips to the cut.
//
// When the log fails, /readyz reports it at once, nothing is accepted, and Run returns within five
// seconds.
//
// # Applying a configuration
//
// Start and Reload do the same: they build everything new first (listeners are bound, places in the log are claimed,
// tokens are read), then comes the switch, which cannot fail, then they close the old. An error before the switch
// undoes the new parts and leaves everything as it was. Faults of this host are no such errors: a destination
// that cannot be built (no such AWS profile, a missing CA bundle, no descriptors) is blocked with the reason, its
// events wait, and building it is tried again.
//
// A place in the log has one owner at any time. A route that is replaced ends its requests within seconds, or abandons
// them; once the checkpoint is stored its sink is closed, and only then the next route builds its own. The place stays
// claimed throughout, so that ack = delivered waits for a destination that changes. Only one that has left
// the file is parked. Reload waits a few seconds for this; a stop waits for no reload.
//
// # Streams
//
// A stream is opened when the configuration names it, when the log holds events of it, or once its first event is
// stored when its name matches a pattern that has fewer than its max_streams. One with a file costs 40 KB of
// memory and a file while it is open, measured with 5,000 that are idle. Opening gives each configured destination its
// place in the log and a shipper. A place without a configured destination is parked: its events
// stay, and it goes on from there when the destination comes back under its name.
//
// # Memory
//
// What the log, the listeners and the shippers hold is bounded each by itself; TuneMemory tells the Go runtime
// a goal for it all, so that garbage does not double it, and to look for garbage less often while there is little in
// use. GOMEMLIMIT and GOGC in the environment go before it.
//
// # Who knows what
//
// This package alone knows the configuration, the log and the shippers together. Packages under
// it know one side each: config the file, access who may send and look, ingest the producers' protocols, admin the
// operators'.
package agent

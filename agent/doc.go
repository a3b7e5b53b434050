// Package agent assembles standpipe: the write-ahead log (WAL), the listeners of producers, a shipper for each destination of
// each stream, and the admin listener.
//
// # Contract
//
// New opens the WAL and binds the listeners; it accepts no events yet. Run serves until its context ends or the WAL fails.
// Reload applies another configuration meanwhile. Close releases everything.
//
// A stop loses no acknowledged event and leaves as few events as possible. Its order is:
//
//  1. /readyz reports not ready. Events are accepted for drain_delay.
//  2. The listeners accept no new connections and requests.
//  3. Accepted appends are committed and get their responses.
//  4. The shippers deliver events for up to shutdown_timeout. The stop does not wait for blocked destinations.
//  5. Open requests are cancelled.
//  6. The checkpoints are stored, the sinks are closed, the WAL is closed. The log has the number of remaining events.
//
// Abort skips to step 5. After a failure of the WAL, /readyz reports it at once, no event is accepted, and Run returns within
// five seconds.
//
// # Applying a configuration
//
// Start and Reload use the same function, apply. It builds everything new: it binds listeners, claims cursors and reads
// tokens. Then it switches, which cannot fail. Then it closes the old parts. An error before the switch undoes the new parts
// and leaves everything as it was. A destination that cannot be built on this host, for example without its AWS profile, is
// no such error: it is blocked with the reason, its events wait, and building it is retried.
//
// A cursor has one owner at any time. A replaced route ends its requests within seconds or abandons them. After its
// checkpoint is stored its sink is closed, and only then the next route builds its own. The cursor stays claimed all the
// time, so that ack = delivered waits for a changing destination. Only a removed destination is parked. Reload waits a few
// seconds for this, and a stop never waits for a reload.
//
// # Streams
//
// A stream is opened if the configuration names it, if the WAL has events of it, or after its first event is stored, if its
// name matches a pattern with fewer than max_streams streams. Opening gives each configured destination its cursor and a
// shipper. A cursor without a configured destination is parked: its events are kept, and it continues when a destination
// with its name returns.
//
// # Limits
//
// The WAL, the listeners and the shippers each limit their own memory. TuneMemory sets the memory limit and the GC percentage
// of the Go runtime, unless GOMEMLIMIT and GOGC do. An idle stream with a file destination takes about 40 KB.
//
// # Layers
//
// Only this package uses the configuration, the WAL and the shippers together. Each package below it has one task: config
// reads the file, access authorizes callers, ingest serves producers, admin serves operators.
package agent

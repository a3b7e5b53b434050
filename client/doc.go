// Package client sends events to a standpipe agent from Go.
//
//	c, err := client.Dial("127.0.0.1:7710", client.Options{})
//	if err != nil {
//		return err
//	}
//	defer c.Close()
//	p := c.Publisher("clicks", client.PublisherOptions{})
//	for line := range lines {
//		if _, err := p.Publish(ctx, client.Event{Key: line.User, Data: line.JSON}); err != nil {
//			return err
//		}
//	}
//	return p.Close(ctx) // nil: every event is on the agent's disk
//
// Append is one request and its response, for programs that need each response before they go on. A Publisher sends
// events fast, in the background.
//
// # Promises of a Publisher
//
// An event whose Receipt has no error has reached the level PublisherOptions.Ack: by default it is synced to the
// agent's disk. Flush and Close return nil when that holds for all events.
//
// Events that one goroutine publishes are stored in that order, through all failures: the events of a key, and those
// of different keys too. Events of several goroutines, or Publishers, have no order among each other.
//
// When the connection breaks, or the agent is stopped, killed, full or draining, the Publisher retries for as long as
// it takes, and resumes at the first request without a response. It numbers its events under a random producer ID, so
// the agent recognises stored events: none is stored twice. This holds while the Publisher lives; a program that is
// started again is another producer. A program that numbers its events itself, like the lines of a file, can use
// AppendBatch to resume across restarts.
//
// When the agent ends a stream because its token is gone, or is no longer valid for the stream's name, a Publisher
// that has had a response before opens a new one with the current credentials, for 3 s. Then it rejects the events
// that it had sent. So tokens are rotated without loss when the agent has the new one before the old one is removed
// (Options.Credentials).
//
// An event that breaks a rule of its stream (too large, not JSON) is rejected alone. Its Receipt and
// PublisherOptions.OnRefused get the error; Flush and Close count it.
//
// Events without a response are in the program's memory only: they are lost when it dies, or ends without Flush or
// Close. A Close whose ctx ends first leaves the rest with ErrClosed; requests that were in flight may be stored all
// the same.
//
// # Exceptions
//
// With AckAccepted the response comes from the agent's memory, and a crash of the agent may lose acknowledged events.
// Events may be stored twice when an agent evicts its producers (it keeps the 8,192 most recent ones), loses a part
// of its log, or comes back with stricter rules for events whose responses were lost.
//
// # Limits
//
// A Publisher holds at most MaxBuffered bytes of events; then Publish waits, or returns ErrFull. Each has one AppendStream
// and three goroutines while it sends, one when it does not. A Client has one connection for all
// of its requests.
//
// A token is sent as it is: over the network it needs TLS.
package client

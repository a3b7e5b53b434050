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
// A program that needs each answer before it goes on uses Append, which is one request and its reply;
// one that only wants its events sent, fast, uses a Publisher.
//
// # What a Publisher promises
//
// An event whose Receipt has no error has come as far as PublisherOptions.Ack asked: by default it is
// synced to the agent's disk. Flush and Close return nil when that holds for all events.
//
// Events that one goroutine publishes are stored in that order, whatever breaks meanwhile: the events
// of a key, and those of different keys too. Events of several goroutines, or Publishers, have no order
// among each other.
//
// When the connection breaks, or the agent is stopped, killed, full or draining, the Publisher tries
// again for as long as it takes, and goes on from the first request without an answer. It numbers its
// events under a random name of its own, by which the agent recognises what it has stored already: nothing
// is stored twice. This holds for as long as the Publisher lives; a program that is started again is
// another producer. One that numbers its events itself, like the lines of a file, can do better with
// AppendBatch.
//
// When the agent ends a stream because its token is gone, or no longer good for the stream's name, a Publisher that it
// has answered before opens a new one with the credentials of that moment, for 3 s. Then it refuses the events that it had sent. So tokens are
// rotated without loss when the agent knows the new one before the old one is removed (Options.Credentials).
//
// An event that breaks a rule of its stream (too large, not JSON) is refused alone. Its Receipt says
// why, so does PublisherOptions.OnRefused, and Flush and Close count it.
//
// Events that are published and not yet answered are in the program's memory and nowhere else: they are
// lost when it dies, or ends without Flush or Close. A Close whose ctx ends first leaves the rest with
// ErrClosed; what was on its way may be stored all the same.
//
// # What breaks the promise
//
// With AckAccepted the answer comes from the agent's memory, and a crash of the agent may lose what was
// answered. Events may be stored twice when an agent forgets its producers (it remembers the 8,192 that
// were heard of last), loses a part of its log, or comes back with stricter rules for events whose
// answers were lost.
//
// # Limits
//
// A Publisher holds at most MaxBuffered bytes of events; then Publish waits, or returns ErrFull. Each has one AppendStream
// and three goroutines while it sends, one when it does not. A Client has one connection for all
// of its requests.
//
// A token is sent as it is: over the network it needs TLS.
package client

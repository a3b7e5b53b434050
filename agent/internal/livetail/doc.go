// Package livetail sends the events of a stream to a browser as they are appended: server-sent events (WHATWG HTML, section 9.2) for
// the live view of the status page, and for curl.
//
// # Contract
//
// A view shows a part of the traffic to a person; client.Read is for programs. Events come in the order of their offsets, and a view
// reports every offset that it leaves out. It settles nothing, and holds up neither appends nor shipping nor truncation.
//
// The types of the server-sent events, each with a JSON object as its data:
//
//	message   a stored event; its id is the offset
//	skipped   offsets that the view leaves out: from, next (exclusive) and the reason: behind, gone or damaged
//	position  next, the offset of the next event, and lag, the events from there on: at the begin, and after 15 s without another
//
// The id of skipped and position is the last offset before next, so a client that resumes with Last-Event-ID misses nothing and
// gets nothing twice.
//
// # Limits
//
// A server has maxViews views. Every view reads up to chunkSize bytes of events and sends up to maxEvents of them at a time, at most
// five times a second. A view that is further behind than maxBehind goes on with the newest events. A client that takes nothing for
// writeTimeout is disconnected; until then it holds up its own view alone.
package livetail

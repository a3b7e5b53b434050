// Package link shares the outbound bandwidth of this host among several senders.
//
// A Link has a cap in bytes a second; 0 is none. Each sender joins it and gets a Claim. Before a request a sender
// reserves its estimated size; when the request has ended it corrects the estimate to the bytes that were sent. A request
// is therefore never throttled half-way: it goes out whole, at the full speed of the line.
//
// # Contract
//
//   - Over any period the Link carries at most its cap, one second's worth, and the amount by which requests in flight
//     were underestimated.
//   - Waiting senders are served by weight (start-time fair queueing); the sizes of their requests do not matter. Unused
//     bandwidth goes to the others; an idle sender saves up nothing, so no sender starves.
//   - A granted reservation stays until the claim uses it or leaves.
//   - All methods may be called from any goroutine; none of them blocks.
//
// # Limits
//
// The Link counts the bytes that its senders report. It does not see headers, TLS, or requests of other processes.
package link

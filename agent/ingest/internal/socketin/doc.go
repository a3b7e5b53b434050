// Package socketin is the listener for newline-delimited JSON over a Unix or TCP socket.
//
// # Contract
//
// A line is a request with one event. Every line gets one response line, in the order of the lines, also if it is empty or no JSON.
// Where the listener has auth, the first line may be {"token":"..."}; it gets no response unless it is rejected.
//
// Requests are pipelined: one goroutine of a connection reads, checks and submits, and another one awaits the outcomes in
// order and writes the responses, so that many lines share a commit. Drain responds to all submitted lines and then closes.
//
// # Assumptions
//
// A producer reads its responses. One that does not is disconnected when a write fails; its submitted lines are stored.
//
// # Limits
//
// A line has at most max_line_size bytes; a longer one is skipped and rejected, and a line without an end within 64 MiB ends the
// connection. 512 lines of a connection may await their responses; reading stops meanwhile. The unfinished lines of
// all connections share a budget of 64 MiB, or of four of the longest lines; the first 64 KiB of each connection are not
// counted. A line that exceeds the budget is skipped and rejected with UNAVAILABLE. An unauthenticated connection has 10 s for its
// first line.
package socketin

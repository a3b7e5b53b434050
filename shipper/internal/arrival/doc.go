// Package arrival keeps the times at which events came to wait to be batched: of the events of a queue, and of those that
// a shipper leaves in the log until their batch is due.
//
// The memory does not grow with the number of events. Times are as exact as the looks at the log are frequent, and never too
// late: an event may count as older than it is, so that it never waits longer than it should. Nothing here reads a clock.
package arrival

// Package queue has the means by which the goroutines of the log pass work and wake each other.
//
// # Contract
//
// Work runs functions in order on one goroutine. Finish returns once all of them have run.
//
// Pending holds the values that a later commit writes. End and Done mark a point of it: all values that were in the queue
// at End have been popped once Done of that number holds.
//
// A Signal wakes all goroutines that wait at the moment of Wake. Poke wakes the one goroutine that receives from a
// channel of capacity 1; a wake-up that is pending already serves for both.
//
// # Assumptions
//
// A goroutine that waits for a Signal reads the state after Wait, not before: a change in between closes the channel.
// One goroutine at a time pops from a Pending. Its mutex and that of a Signal are acquired last.
package queue

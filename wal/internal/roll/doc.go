// Package roll ends the newest segment of a log and begins the next one.
//
// # Contract
//
// A roll adds no sync to any append. The commit that fills the newest segment also marks it as sealed and writes its
// index. The next segment exists by then, since the Roller makes it beside the commits, and its first transaction begins
// it with the log's state. If a segment is larger than estimated after a commit, or full after its first commit, it is
// sealed at once: Open skips as many offsets for a lost segment as one can hold.
//
// A shortage of space is no failure: the newest segment grows until the next one can be made.
//
// # Assumptions
//
// The leader of the commits alone calls the methods of a Roller, except Run, Finish and RemoveNext.
package roll

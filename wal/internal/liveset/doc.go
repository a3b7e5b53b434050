// Package liveset holds the segments of an open log: which ones there are, which events each of them holds, and how many
// bytes they occupy.
//
// # Contract
//
// A Set is a row of segments, oldest first. The newest takes the appends; the others are sealed. Beside the row there may
// be the next segment, which is ready to follow the newest. Find and Parts see the events of a commit together, from the
// return of Publish on.
//
// Segments leave the row through Remove and Retain, and lose events through Replace. None of this happens while a
// Hold is under way. A segment that a reader has found stays usable: a read of a removed segment returns segfile.ErrGone, and
// a read of a replaced one is repeated (segfile.File.Replaced).
//
// Retained segments are beside the row. FindAny alone finds them, and Release removes them, also during a Hold: no cursor
// needs their events, and none will.
//
// # Assumptions
//
// The leader of the commits alone calls Publish and Roll, so that it may read the newest segment without a lock. The
// functions that are passed to a method of Set run while Set's lock is held: they must be short, and must call no method
// of Set.
package liveset

// Package stdout writes events to the standard output of the process, one line an event, in the order of the log.
//
// # Contract
//
//   - A line is an event's envelope, if the destination has one. Otherwise an event that is JSON stands on its line as it is,
//     and any other event in an envelope: so each line is JSON.
//   - Delivered means that standard output has taken the line. Lines of several destinations never mix.
//   - Without a reader, Send returns an error that needs an operator when its context ends. The write goes on in the background,
//     and its lines are not written again. After an error in the middle of a line, its rest is written first.
//   - If the reader has gone, Send returns an error; the process does not end with SIGPIPE.
//   - After a crash the lines of the last 250 ms may come twice. Lines of up to 4 KiB are written to a pipe whole or not at all.
//
// # Limits
//
// At most 64 KiB of lines, or one longer line, are written in the background.
package stdout

// Package recovery reads the folder of a log when the log is opened: it finds the segments that can be read, and loads
// the log's state from the newest of them.
//
// # Contract
//
// Scan changes no file. If the disk cannot be read now, or a later release wrote a part of the log, it returns an error
// and the folder is as it was. A segment counts as damaged after two reads that found the same. Apply then renames the
// damaged segments, removes the unfinished files of a crash, and makes the last commit durable.
//
// The newest segment is read whole, since a crash may have interrupted a write to it, and since it has the state. If it is
// damaged, the segment before it is the newest. Of the others the meta bucket, the index, and the first and last block are
// read. A segment is damaged too if it belongs to another log, or if its offsets overlap those of a later segment.
//
// Lost and Missing say how much a lost newest segment can have held, so that no offset is used twice. A segment is lost if
// it is damaged, if a file name has a higher number than every segment, or if the newest segment is marked as sealed and
// nothing follows it. Lost is an upper bound.
//
// # Assumptions
//
// The directory is locked. The caller's State takes the entries of the newest readable segment, after a Reset for each
// attempt.
package recovery

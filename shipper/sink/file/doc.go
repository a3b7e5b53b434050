// Package file delivers to files on this host.
//
// # Contract
//
// Sink writes PATH/YYYY/MM/DD/HH/STREAM-FIRSTOFFSET.jsonl, one line an event, in the order of the log. The hour is UTC,
// at the time of writing. The name of an unfinished file ends in .tmp.
//
//	Send: write, fdatasync ──► response, with the state for the checkpoint
//	                                   │
//	        the log commits checkpoint and state in one transaction
//	                                   │
//	Committed ──► each whole file whose lines are all covered is renamed
//
// A finished file has only lines that no crash makes the shipper send again, because it is renamed after the commit of
// the checkpoint that covers it.
//
// After a crash an unfinished file that the state names is cut to the size in the state. An unfinished file that the
// state doesn't name was created after the last checkpoint and is removed. It is kept up to its last whole line if there
// is no state at all, or if it begins before the checkpoint (its disk was missing at an earlier start). A finished file
// is never overwritten: the next free of -2, -3 … is put before .jsonl.
//
// An event counts as delivered when, after the sync, the name of the file still leads to the file, and the file has its
// expected length. If another process removed, moved, replaced or cut it (copytruncate of logrotate), Sink logs that
// once. Events that did not count yet go to a new file; events that did stay where the change left them. The check is
// repeated when the file is whole, and when it is renamed.
//
// A failed write is cut off before the next one. After a failed sync the file takes no more lines, because a later
// successful sync proves nothing about the pages of this one. Its synced bytes stay, and the batch goes to a new file.
//
// The state holds the path. After a crash and a change of the path, or of the destination's type, the unfinished files
// are cut and finished where they are. If that fails, their path is logged.
//
// # Assumptions
//
//   - One Sink at a time writes a stream's files under one path, and no other path lies within it.
//   - fdatasync, and fsync of a directory, reach the disk.
//
// # Limits
//
//   - A record is at most 16 MiB and its newline.
//   - A start reads all names below PATH.
//   - At most 64 whole files wait for their final name. Then Send fails until an operator fixes the cause.
//   - Files have the mode 0644 and directories 0755 less the umask, or FileMode and the mode derived from it (0640: 0750).
//   - Files are not compressed, because after a crash they are cut at lines.
package file

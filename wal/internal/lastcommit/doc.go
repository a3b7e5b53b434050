// Package lastcommit finds the last whole commit of a log's newest segment, before bbolt opens the file.
//
// # Why
//
// Commits N-1 and N have a meta page each. bbolt writes no page in commit N that commit N-1 can reach, and the log begins
// to write N only after N-1 is on the disk. N is synced once, so a power loss during N may keep its meta page and lose any
// other page of it. Then N is torn. It was not acked, since an ack leaves after the sync. N-1 is whole, and has every acked
// event.
//
// # Contract
//
// Check reads the file and changes nothing. It compares the digest that commit N stored with the digest of all entries that
// N's tree reaches, see package digest. If they are equal, N is the last commit. If not, and the digest of N-1 is right, N
// is torn. If neither is right, the segment is damaged.
//
// The frames of a block have a CRC-32C, and a fault of the disk in them costs that block, not a commit. So a bad block
// makes N torn only if N wrote it: the same block of N-1 is absent or good.
//
// A segment without a digest was written by an older release, or is sealed. Its commits were synced twice, and it is only
// checked for damage.
//
// Secure makes the result durable. It must run before the next commit writes a page, since that commit may overwrite pages
// of N-1:
//
//   - If N is torn, the meta page of N-1 takes the place of N's.
//   - Otherwise N's pages are written again as they are, and synced. The process that wrote them may have ended before its
//     sync, or after a failed one. After a failed sync Linux may keep pages that are not on the disk, and takes them for
//     written.
//
// Then both meta pages are those of the last commit. Confirm does the same after the sync of each commit. It needs no sync:
// the next commit overwrites that meta page, and syncs the other one before. A segment with two equal meta pages has no torn
// commit, and a wrong digest in it is damage. So a commit that was synced is not taken for a torn one, unless the power
// fails before the confirmation is on the disk.
//
// # Assumptions
//
// The disk writes a sector of 512 bytes as a whole or not at all. When a sync returns without an error, everything that was
// written to the file before is on the disk, and so is the length of the file (fdatasync(2): "metadata if that metadata is
// needed in order to allow a subsequent data read to be correctly handled"). A sector that was lost shows zeros, or older
// content of any file.
//
// Two transactions with the same number must not both leave pages. An attempt that failed or was interrupted may have left
// pages with its number. So the log syncs twice in the first commit after it has opened a file and after a failed commit.
package lastcommit

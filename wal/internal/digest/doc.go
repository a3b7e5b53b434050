// Package digest calculates the digest of a segment: the number of its entries, and sums of their hashes.
//
// # Why
//
// A commit of the newest segment is synced once. A power loss may then keep its meta page and lose any of its other
// pages. A lost page shows older content of the same place in the file, which may be a valid page, and bbolt's pages have
// no checksums. So each commit stores the digest of all entries that its tree reaches. Open calculates the digest again
// from the tree, see package lastcommit.
//
// # Contract
//
// The digest of a set of entries is the same in whatever order they were added and removed. So a commit updates it by the
// entries that it changes, and does not read the others.
//
// # The hash
//
// The hash of an entry is XXH64 with two seeds, which gives 128 bits. It covers the segment's number, the bucket, the key
// and the value. The sums are modulo 2^64. The adversary is older content of the same file and not an attacker, so a fast
// hash that is not cryptographic is enough: two different sets of entries have the same digest with a probability of about
// 2^-128.
//
// Of a block, the hash covers the header, which has the CRC-32C of the frames, and the notes of producers, which are an
// entry of their own. So an append hashes about 70 bytes for each block, and Open checks the frames by their CRC-32C, as all readers do. A fault in the frames costs a block and not
// the segment, and this is how it differs from all others.
package digest

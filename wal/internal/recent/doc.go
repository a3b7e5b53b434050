// Package recent keeps the last small blocks of a segment in the page that lists its buckets.
//
// # Why
//
// Each commit of bbolt writes the page that lists the buckets, and a meta page. A block in the bucket of blocks also takes a
// leaf and the branches above it, so a commit of 200 bytes writes four or five pages. While there is room, a commit writes a
// small block into the page of the buckets instead, and writes two pages. The block that does not fit takes the earlier ones
// along to the bucket of blocks, about ten at once.
//
// # Contract
//
// A recent block has a bucket of its own, which bbolt stores within the page of the buckets. The name of this bucket is the
// letter r and the block's number. Its only entry has the key and the value of the entry in the bucket of blocks. So the position of a block is no
// part of it: the digest of a segment, the index and the checksums are the same.
//
// The numbers of recent blocks are consecutive, and follow those of the bucket of blocks. A sealed segment has none.
//
// Readers see one row: Cursor and LeafOf continue the bucket of blocks with the recent ones.
//
// # Limits
//
// Package segfile begins them after small blocks only: a move writes the last leaf of the bucket of blocks again.
//
// bbolt stores a bucket within another one's page if it takes at most a quarter of a page. So events of about 900 bytes and
// more go to the bucket of blocks at once.
package recent

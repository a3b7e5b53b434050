// Package small stores small commits of a segment in one page each.
//
// # Why
//
// The smallest commit of bbolt writes two pages, and a third part of a page more on average for an event of 200 bytes. These pages are
// the cost of the event on a flash card, and the caller waits until they are on the disk. A small commit writes one page, and bbolt
// takes no part in it.
//
// # Contract
//
// The bucket small of a segment has one value, which takes Space.Count pages in a row; bbolt writes them once, when the
// segment is made. Small commit n after a transaction of bbolt is page n of them. It holds the blocks and the entries of the state
// that it puts, and the number of that transaction. The next transaction stores all of them in their buckets, and its number
// makes every page free.
//
// So a segment is its content after bbolt's last transaction, and then the small commits 1, 2 and so on. Read returns these, up to the
// last one that is whole or confirmed. Overlay puts them into their buckets for package boltpage.
//
// # After a crash
//
// Commit n is written after n-1 is on the disk, and no page is written twice before a transaction of bbolt is on the disk. So
// only the last commit can be torn; it was not acked. A page that was lost shows zeros or older content, whose checksum, place
// or transaction is another one.
//
// After the sync of commit n the page after it gets a confirmation, which costs no write of its own: commit n+1 overwrites it,
// as a rule before the kernel writes it. So a page with a wrong checksum that was confirmed, or that a later commit follows, is
// damaged and not torn. Its blocks and the entries of its state have checksums of their own: each is good or damaged by itself.
package small

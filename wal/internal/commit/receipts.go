package commit

import "github.com/standpipe/standpipe/wal/internal/receipt"

// receiptsPart is the part of the state that receipts may take.
const receiptsPart = 8

// Receipts gives producers the receipts of the log.
type Receipts struct{ c *Committer }

// NewReceipts returns the Receipts of a log.
func NewReceipts(c *Committer) Receipts { return Receipts{c} }

// Of returns the receipts of an owner, the oldest first. It waits for the commit under way at most.
func (r Receipts) Of(owner string) (all []receipt.Receipt) {
	r.c.Exclude(func() bool {
		all = r.c.receipts.Of(owner)
		return true
	})
	return all
}

// Discard discards receipts of an owner: those with the IDs, or all if there are none. It returns without waiting for the disk.
// Batches that the goroutine has submitted before come first. Once the ticket is done without an error, the receipts are gone, also
// after a crash. It needs no free bytes of the log. Unknown receipts are no error.
//
// Errors: ErrClosed; ErrFailed; ErrFull from the ticket if the disk is full.
func (r Receipts) Discard(owner string, ids ...uint64) (*Ticket, error) {
	c := r.c
	if err := c.o.usable(); err != nil {
		return nil, err
	}
	t := &Ticket{committer: c, receipt: receipt.Receipt{Owner: owner}, discard: true, discards: ids, done: make(chan struct{})}
	if !c.impatient.Load() {
		t.linger = c.o.Linger
	}
	if err := c.enqueue(t); err != nil {
		return nil, err
	}
	return t, nil
}

// discard adds a ticket of Receipts.Discard to the group, which becomes a checkpoint: those may use the bytes that are reserved
// for one.
func (g *group) discard(c *Committer, t *Ticket) bool {
	if !t.taken.CompareAndSwap(false, true) {
		c.end(t, errWithdrawn)
		return true
	}
	before := len(g.receipts)
	c.receipts.Remove(&g.receipts, t.receipt.Owner, t.discards)
	g.checkpoint = g.checkpoint || len(g.receipts) > before
	g.add(t, Appended{})
	return true
}

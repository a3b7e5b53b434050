package commit

import (
	"github.com/standpipe/standpipe/wal/internal/receipt"
)

// DiscardReceipts enqueues the discard of receipts of an owner: those with the IDs, or all if there are none. It follows the batches that
// the goroutine has submitted before. Once the ticket is done without an error, the receipts are gone from the disk. A
// checkpoint's bytes are free for it in a full log.
func (c *Committer) DiscardReceipts(owner string, ids ...uint64) (*Ticket, error) {
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

// admitDiscard adds a discard to the group, which becomes a checkpoint: those may use the bytes that are reserved for one.
func (c *Committer) admitDiscard(g *group, t *Ticket) bool {
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

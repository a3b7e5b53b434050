package ranged

import (
	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/internal/link"
	"github.com/standpipe/standpipe/wal"
)

// bandwidth is the shipper's part of its own bandwidth and of the Link. Events are charged before Add, since the sink may
// send them at once. After Commit the charges of the range are corrected to the bytes that were sent.
type bandwidth struct {
	claims []*link.Claim // its own bandwidth first
	notify chan struct{} // a claim was granted, or the link works again; holds one
	path   *link.Path    // over the shared link, whose claim is the last one; nil: there is none

	wireRatio float64 // sent bytes for a byte of the events' data
	data      int     // of the events that were charged since the last correct
	charged   int     // for them
}

func newBandwidth() bandwidth {
	return bandwidth{notify: make(chan struct{}, 1), wireRatio: 1}
}

func (b *bandwidth) join(o *Options) {
	if o.Bandwidth > 0 {
		b.claims = append(b.claims, link.New(o.Bandwidth).Join(o.Priority, b.notify))
	}
	if o.Link != nil {
		c := o.Link.Join(o.Priority, b.notify)
		b.claims, b.path = append(b.claims, c), c.Path(o.Endpoint, &o.Retry)
	}
}

func (b *bandwidth) leave() {
	b.path.Leave()
	for _, c := range b.claims {
		c.Leave()
	}
}

// part returns the first events, as many as may be added at once, and the bytes of their data.
func (b *bandwidth) part(events []wal.Event) (part []wal.Event, data int) {
	most := 0
	for _, c := range b.claims {
		if limit := c.MaxBatch(); limit > 0 && (most == 0 || limit < most) {
			most = limit
		}
	}
	for i := range events {
		size := len(events[i].Data)
		if most > 0 && i > 0 && float64(data+size)*b.wireRatio > float64(most) {
			return events[:i], data
		}
		data += size
	}
	return events, data
}

// reserve charges events with that many bytes of data. If ok is false, the shipper waits in line: notify reports when to try
// again.
func (b *bandwidth) reserve(data int) (ok bool) {
	charge := int(float64(data) * b.wireRatio)
	for _, c := range b.claims {
		if !c.Reserve(charge) {
			return false
		}
	}
	for _, c := range b.claims {
		c.Use()
	}
	b.data, b.charged = b.data+data, b.charged+charge
	return true
}

// correct replaces the charges of a range by the bytes that it sent; 0: they are unknown.
func (b *bandwidth) correct(sent uint64) {
	if sent > 0 && b.data > 0 {
		for _, c := range b.claims {
			c.Correct(int(sent) - b.charged)
		}
		b.wireRatio += (float64(sent)/float64(b.data) - b.wireRatio) / 4
	}
	b.data, b.charged = 0, 0
}

// reportBack notifies the other shippers of the link that it works again after failures of a class.
func (b *bandwidth) reportBack(after shipper.Class) {
	if b.path != nil && after == shipper.Transient {
		b.claims[len(b.claims)-1].ReportBack()
	}
}

// takeNews reports, once, that the link was set up or down. up is its present state.
func (b *bandwidth) takeNews() (up, news bool) {
	if b.path == nil {
		return true, false
	}
	return b.claims[len(b.claims)-1].TakeNews()
}

// takeBack reports, once, that another shipper of the link got through after an outage.
func (b *bandwidth) takeBack() (back bool) {
	for _, c := range b.claims {
		back = c.TakeBack() || back
	}
	return back
}

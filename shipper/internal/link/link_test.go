package link_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/standpipe/standpipe/shipper/internal/link"
)

// sender sends requests of one size on a link until its time is over.
func sender(l *link.Link, p link.Priority, size int, end time.Time) (sent int) {
	notify := make(chan struct{}, 1)
	c := l.Join(p, notify)
	defer c.Leave()
	for time.Now().Before(end) {
		if !c.Reserve(size) {
			<-notify
			continue
		}
		c.Use()
		sent += size
	}
	return sent
}

func TestLink_SharesByPriorityWhateverTheSizes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit, seconds = 100_000, 60
		l := link.New(limit)
		end := time.Now().Add(seconds * time.Second)
		low := make(chan int)
		go func() { low <- sender(l, link.PriorityLow, 10_000, end) }()
		normal := sender(l, 0, 1_000, end)
		least := <-low
		if sum := normal + least; sum > (seconds+1)*limit+20_000 || sum < (seconds-1)*limit {
			t.Errorf("%d bytes in %d s at %d bytes/s", sum, seconds, limit)
		}
		if ratio := float64(normal) / float64(least); ratio < 3.5 || ratio > 4.5 {
			t.Errorf("normal got %.1f times the bytes of low, want 4", ratio)
		}
	})
}

func TestLink_AClaimThatLeavesReturnsItsGrant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := link.New(1000)
		granted := l.Join(0, make(chan struct{}, 1))
		if !granted.Reserve(5000) { // a debt of 4 s from now on
			t.Fatal("a full link grants nothing")
		}
		notify := make(chan struct{}, 1)
		c := l.Join(0, notify)
		if c.Reserve(100) || !c.Waiting() {
			t.Fatal("a link that owes grants more")
		}
		granted.Leave()
		<-notify
		if !c.Reserve(100) {
			t.Error("nothing is granted although the grant was returned")
		}
	})
}

func TestLink_IsBackForTheOthers(t *testing.T) {
	l := link.New(0)
	notify := make(chan struct{}, 1)
	reports, reads := l.Join(0, make(chan struct{}, 1)), l.Join(0, notify)
	reports.ReportBack()
	if <-notify; !reads.TakeBack() || reads.TakeBack() || reports.TakeBack() {
		t.Error("a link that is back is to be reported once, to the others alone")
	}
}

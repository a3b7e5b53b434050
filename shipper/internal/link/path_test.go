package link_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/standpipe/standpipe/shipper/internal/backoff"
	"github.com/standpipe/standpipe/shipper/internal/link"
)

var unreached = &backoff.Error{Class: backoff.Transient, Code: "connection", Record: -1, Unreached: true}

// traveler is a claim of a link with its path.
type traveler struct {
	*link.Path
	claim  *link.Claim
	notify chan struct{}
}

func join(l *link.Link, endpoint string, retry backoff.Retry) *traveler {
	s := &traveler{notify: make(chan struct{}, 1)}
	retry.SetDefaults()
	s.claim = l.Join(link.PriorityNormal, s.notify)
	s.Path = s.claim.Path(endpoint, &retry)
	return s
}

func (s *traveler) try(t *testing.T, want bool) link.Hold {
	t.Helper()
	hold, ok := s.Try(time.Now())
	if ok != want {
		t.Fatalf("Try: got %v, want %v", ok, want)
	}
	return hold
}

// Twenty senders to one endpoint try it no more often than one, and the tries become rarer while it is out of reach.
func TestPath_OneTriesForAll(t *testing.T) {
	tries := func(senders int) (n int) {
		synctest.Test(t, func(t *testing.T) {
			l := link.New(0)
			var all []*traveler
			for range senders {
				all = append(all, join(l, "e", backoff.Retry{}))
			}
			other := join(l, "other", backoff.Retry{})
			for end := time.Now().Add(time.Hour); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
				for _, s := range all {
					if _, ok := s.Try(time.Now()); ok {
						n++
						s.Failed(unreached, false, time.Now(), time.Time{})
					}
				}
			}
			other.try(t, true)
			all[0].Hasten()
			all[0].try(t, true)
			all[0].Reached()
			for _, s := range all[1:] {
				s.try(t, true)
				if len(s.notify) != 1 || !s.claim.TakeBack() {
					t.Error("a sender was not notified that the endpoint is back")
				}
			}
		})
		return n
	}
	one, twenty := tries(1), tries(20)
	if twenty > one*5/4 || one > 220 || one < 120 {
		t.Errorf("in an hour: got %d tries of one sender, %d of twenty; want 120 to 220, and no more", one, twenty)
	}
}

// The wait between two tries is at most an eighth of the outage, and at most Retry.Max.
func TestPath_WaitGrowsWithTheOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := join(link.New(0), "e", backoff.Retry{Max: 5 * time.Minute})
		began := time.Now()
		for time.Since(began) < 3*time.Hour {
			s.try(t, true)
			next := s.Failed(unreached, false, time.Now(), time.Time{})
			wait, most := time.Until(next), max(min(time.Since(began)/8, 5*time.Minute), 100*time.Millisecond)
			if wait > most || wait < most*3/4 {
				t.Fatalf("after %s: got a wait of %s, want at most %s", time.Since(began), wait, most)
			}
			if hold := s.try(t, false); !hold.Until.Equal(next) || hold.Error != unreached {
				t.Fatalf("got a hold until %s for %v, want until %s", hold.Until, hold.Error, next)
			}
			time.Sleep(wait)
		}
	})
}

// On a link that loses everything, a try ends when the connection is not open after 10 s. Twenty senders have no more tries than one
// then too, from the first one on.
func TestPath_OneTriesForAllOnASilentLink(t *testing.T) {
	tries := func(senders int) int64 {
		var n atomic.Int64
		synctest.Test(t, func(t *testing.T) {
			l := link.New(0)
			var all sync.WaitGroup
			for range senders {
				s := join(l, "e", backoff.Retry{})
				all.Go(func() {
					for end := time.Now().Add(10 * time.Minute); time.Now().Before(end); {
						hold, ok := s.TryInTurn(time.Now())
						if ok {
							n.Add(1)
							time.Sleep(10*time.Second + time.Millisecond)
							s.Failed(unreached, false, time.Now(), time.Time{})
							continue
						}
						select {
						case <-s.notify:
						case <-time.After(max(time.Until(hold.Until), time.Millisecond)):
						}
					}
				})
			}
			all.Wait()
		})
		return n.Load()
	}
	if one, twenty := tries(1), tries(20); twenty > one*5/4 {
		t.Errorf("in ten minutes: got %d tries of one sender, %d of twenty; want no more", one, twenty)
	}
}

// A sender whose try hangs holds up the others for fifteen seconds.
func TestPath_HungTryHoldsUpNobodyForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := link.New(0)
		a, b := join(l, "e", backoff.Retry{}), join(l, "e", backoff.Retry{})
		a.Failed(unreached, false, time.Now(), time.Time{})
		time.Sleep(time.Second)
		a.try(t, true)
		hold := b.try(t, false)
		time.Sleep(time.Until(hold.Until))
		b.try(t, true)
		a.Leave()
		b.Leave()
	})
}

// The first request to an endpoint goes alone. Its outcome, of any kind, wakes the other senders, and so does its sender's end.
// A hung one holds them for fifteen seconds.
func TestPath_FirstRequestGoesAlone(t *testing.T) {
	denied := &backoff.Error{Class: backoff.Operator, Code: "AccessDenied", Record: -1}
	for name, test := range map[string]struct {
		end  func(first *traveler)
		held bool // all senders are, by the failure
	}{
		"reached":     {func(first *traveler) { first.Reached() }, false},
		"not sent":    {func(first *traveler) { first.Failed(denied, false, time.Now(), time.Time{}) }, false},
		"unreached":   {func(first *traveler) { first.Failed(unreached, false, time.Now(), time.Time{}) }, true},
		"sender ends": {func(first *traveler) { first.Leave() }, false},
		"hung":        {func(first *traveler) { time.Sleep(15 * time.Second) }, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			l := link.New(0)
			first, b, c := join(l, "e", backoff.Retry{}), join(l, "e", backoff.Retry{}), join(l, "e", backoff.Retry{})
			other := join(l, "other", backoff.Retry{})
			turn := func(s *traveler, want bool) {
				t.Helper()
				hold, ok := s.TryInTurn(time.Now())
				if ok != want {
					t.Errorf("%s: TryInTurn: got %v, want %v", name, ok, want)
				}
				if left := time.Until(hold.Until); !ok && (left <= 0 || left > 15*time.Second) {
					t.Errorf("%s: got a hold for %s, want at most fifteen seconds", name, left)
				}
			}
			turn(first, true)
			turn(b, false)
			turn(c, false)
			turn(first, true) // the same sender may have several requests
			turn(other, true)
			test.end(first)
			if name != "hung" && (len(b.notify) != 1 || len(c.notify) != 1) {
				t.Errorf("%s: the other senders were not notified", name)
			}
			turn(b, !test.held)
			turn(c, !test.held)
		})
	}
}

// An error of one destination is no evidence about the endpoint, unless it shows that it is in reach.
func TestPath_OtherErrors(t *testing.T) {
	l := link.New(0)
	a, b := join(l, "e", backoff.Retry{}), join(l, "e", backoff.Retry{})
	denied := &backoff.Error{Class: backoff.Operator, Code: "AccessDenied", Record: -1}
	a.Failed(denied, true, time.Now(), time.Time{})
	b.try(t, true)
	a.Failed(unreached, false, time.Now(), time.Time{})
	b.try(t, false)
	a.Failed(denied, false, time.Now(), time.Time{})
	b.try(t, false)
	a.Failed(denied, true, time.Now(), time.Time{})
	b.try(t, true)
}

func TestLink_SetDownAndUp(t *testing.T) {
	l := link.New(0)
	a, b := join(l, "e", backoff.Retry{}), join(l, "other", backoff.Retry{})
	a.Failed(unreached, false, time.Now(), time.Time{})
	down := &backoff.Error{Class: backoff.Transient, Code: "link down", Record: -1, Unreached: true}
	l.SetDown(down)
	for _, s := range []*traveler{a, b} {
		if up, news := s.claim.TakeNews(); up || !news || len(s.notify) != 1 {
			t.Errorf("down: got up %v, news %v", up, news)
		}
		<-s.notify
		if hold := s.try(t, false); hold.Error != down || time.Until(hold.Until) < time.Minute {
			t.Errorf("down: got a hold for %v, until %s", hold.Error, hold.Until)
		}
	}
	l.SetUp()
	for _, s := range []*traveler{a, b} {
		if up, news := s.claim.TakeNews(); !up || !news || len(s.notify) != 1 {
			t.Errorf("up: got up %v, news %v", up, news)
		}
		if _, news := s.claim.TakeNews(); news {
			t.Error("news was taken twice")
		}
		s.try(t, true) // at once
	}
}

// A service that has rejected the requests of several senders since about the same time takes those of one again: the others
// may try. A sender whose rejections are older, or that sends elsewhere, waits on.
func TestPath_AcceptedForAllThatWereRejectedTogether(t *testing.T) {
	rejection := &backoff.Error{Class: backoff.Throttled, Code: "ServiceUnavailable", Record: -1}
	synctest.Test(t, func(t *testing.T) {
		l := link.New(0)
		alone, first, second, late, idle := join(l, "e", backoff.Retry{}), join(l, "e", backoff.Retry{}), join(l, "e", backoff.Retry{}),
			join(l, "e", backoff.Retry{}), join(l, "e", backoff.Retry{})
		elsewhere := join(l, "other", backoff.Retry{})
		alone.Failed(rejection, true, time.Now(), time.Time{})
		time.Sleep(time.Minute)
		for _, s := range []*traveler{alone, first, elsewhere} {
			s.Failed(rejection, true, time.Now(), time.Time{})
		}
		time.Sleep(500 * time.Millisecond)
		second.Failed(rejection, true, time.Now(), time.Time{})
		time.Sleep(10 * time.Second)
		late.Failed(rejection, true, time.Now(), time.Time{})
		all := map[string]*traveler{"alone": alone, "first": first, "second": second, "late": late, "idle": idle, "elsewhere": elsewhere}
		for _, s := range all {
			select {
			case <-s.notify:
			default:
			}
		}
		second.Reached()
		for name, s := range all {
			want := name == "first" || name == "late"
			if got := s.TakeAccepted(); got != want || want != (len(s.notify) == 1) {
				t.Errorf("%s: got %v with %d notifications, want %v", name, got, len(s.notify), want)
			}
		}
		if second.Reached(); first.TakeAccepted() {
			t.Error("a sender was notified again of the same end")
		}
	})
}

// A proxy rejects the requests of all senders: they try in turn, and a request of any that gets through lets all try. Then one whose
// requests are rejected all the same tries for itself, and holds up no other.
func TestPath_InTurnBehindAProxy(t *testing.T) {
	rejection := &backoff.Error{Class: backoff.Transient, Code: "502", Record: -1, Between: true}
	synctest.Test(t, func(t *testing.T) {
		l := link.New(0)
		a, b, c := join(l, "e", backoff.Retry{}), join(l, "e", backoff.Retry{}), join(l, "e", backoff.Retry{})
		fail := func(s *traveler, again time.Duration) time.Duration {
			return time.Until(s.Failed(rejection, true, time.Now(), time.Now().Add(again)))
		}
		c.Reached()
		time.Sleep(time.Minute)
		if again := fail(a, time.Hour); again != time.Hour {
			t.Errorf("alone: got a try after %s, want its own after an hour", again)
		}
		if again := fail(b, time.Hour); again > time.Second {
			t.Errorf("beside another: got a try after %s, want the next of both within a second", again)
		}
		c.try(t, true) // was not rejected
		fail(c, 0)
		time.Sleep(40 * time.Second)
		a.try(t, true)
		if hold := b.try(t, false); hold.Error != rejection || time.Until(hold.Until) != time.Second {
			t.Errorf("beside a try: got a hold of %s for %v, want one of a second", time.Until(hold.Until), hold.Error)
		}
		if again := fail(a, 0); again < 3750*time.Millisecond || again > 5*time.Second {
			t.Errorf("after 40 s: got a try after %s, want 5 s at most", again)
		}
		b.try(t, false)
		time.Sleep(5 * time.Second)
		b.try(t, true)
		a.try(t, false)
		time.Sleep(15 * time.Second)
		a.try(t, true) // that of b hangs
		b.Reached()
		for range 3 {
			a.try(t, true)
			b.try(t, true)
			for _, s := range []*traveler{a, c} {
				if again := fail(s, time.Hour); again != time.Hour {
					t.Errorf("rejected although others get through: got a try after %s, want its own after an hour", again)
				}
			}
			fail(b, 0)
			b.Reached()
		}
	})
}

// One of twenty senders is rejected for a cause of its own, and goes on to be when the others are not any more. They find that out
// soon all the same: any of them may be the next to try.
func TestPath_ASenderWithACauseOfItsOwnIsNotAlwaysNext(t *testing.T) {
	rejection := &backoff.Error{Class: backoff.Transient, Code: "502", Record: -1, Between: true}
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			l := link.New(0)
			outage := time.Now().Add(time.Minute)
			var through atomic.Bool
			var all sync.WaitGroup
			for i := range 20 {
				s := join(l, "e", backoff.Retry{})
				all.Go(func() {
					for !through.Load() {
						hold, ok := s.TryInTurn(time.Now())
						if !ok {
							time.Sleep(time.Until(hold.Until))
							continue
						}
						time.Sleep(20 * time.Millisecond)
						if i > 0 && time.Now().After(outage) {
							s.Reached()
							if late := time.Since(outage); late > 45*time.Second && !through.Swap(true) {
								t.Errorf("got through %s after the outage, want 45 s at most", late)
							}
							through.Store(true)
							return
						}
						time.Sleep(time.Until(s.Failed(rejection, true, time.Now(), time.Now())))
					}
				})
			}
			all.Wait()
		})
	}
}

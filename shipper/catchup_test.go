package shipper_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/test/testkit"
	"github.com/standpipe/standpipe/wal"
	"github.com/standpipe/standpipe/wal/deadletter"
)

// broken is a destination behind a slow link, which takes nothing at first. Events with a key "f..." are sent after the
// outage.
type broken struct {
	*rig
	over   bool            // guarded by svc.mu
	stored []storedPayload // in the order of their arrival; guarded by svc.mu
}

type storedPayload struct {
	key, payload string
	fresh        bool
	bytes        int
	at           time.Time
}

func newBroken(t *testing.T, rate int, catchUp shipper.CatchUp) *broken {
	svc := newService(t, kinesisShape())
	svc.gapped, svc.scattered = catchUp != shipper.CatchUp{}, catchUp.Latest
	o := &broken{rig: &rig{t: t, svc: svc, sink: &narrowband{service: svc, rate: rate, line: make(chan struct{}, 1)}}}
	o.opts = shipper.Options{CatchUp: catchUp, Retry: shipper.Retry{Max: 2 * time.Second}}
	svc.faults = func(*rand.Rand, []shipper.Record) (f fault) {
		if !o.over {
			f.err = failure(shipper.Transient, "connection")
		}
		return f
	}
	svc.landing = func(r shipper.Record, keys map[string][]string) {
		for key, payloads := range keys {
			for _, p := range payloads {
				o.stored = append(o.stored, storedPayload{key, p, key[0] == 'f', len(r.Data) / r.Events, time.Now()})
			}
		}
	}
	o.inMemory()
	o.start()
	return o
}

// set ends the outage, or begins another one.
func (o *broken) set(over bool) {
	o.svc.mu.Lock()
	defer o.svc.mu.Unlock()
	o.over = over
}

// arrived returns the payloads that have arrived so far.
func (o *broken) arrived() []storedPayload {
	o.svc.mu.Lock()
	defer o.svc.mu.Unlock()
	return o.stored
}

// After an outage, fresh events that ask for more than their share get about their share until the
// backlog is through.
func TestCatchUp_FreshEventsHaveTheirShare(t *testing.T) {
	for _, share := range []float64{0.1, 0.3, 0.6} {
		synctest.Test(t, func(t *testing.T) {
			o := newBroken(t, 20_000, shipper.CatchUp{FreshShare: share})
			o.src.sendLong(6000, 200, 300)
			time.Sleep(time.Minute)
			o.set(true)
			for range 200 { // 40 s of 20 KB/s, while the link carries 15 KB/s of payload
				for key := range 20 {
					o.src.append(fmt.Sprint("f", key), 1, 190)
				}
				time.Sleep(200 * time.Millisecond)
			}
			fresh, all := 0, 0
			for _, p := range o.arrived() {
				if all += p.bytes; p.fresh {
					fresh += p.bytes
				}
			}
			if got := float64(fresh) / float64(all); got < share-0.15 || got > share+0.15 {
				t.Errorf("fresh events were %.2f of %d bytes, want about %.2f", got, all, share)
			}
			o.finish()
		})
	}
}

// Fresh events that need less than their share overtake the backlog, and the backlog has the rest of the link.
func TestCatchUp_FreshEventsOvertakeTheBacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newBroken(t, 20_000, shipper.CatchUp{FreshShare: 0.3})
		o.src.sendLong(6000, 200, 30)
		time.Sleep(time.Minute)
		o.set(true)
		time.Sleep(5 * time.Second)
		var late, most time.Duration
		for key := range 3 {
			o.src.append(fmt.Sprint("f", key), 1, 190)
			for sent := time.Now(); !o.svc.has(fmt.Sprint("f", key), 1); late = time.Since(sent) {
				time.Sleep(100 * time.Millisecond)
			}
			most = max(most, late)
		}
		if pending := o.place().Stat().Pending.Events; pending < 1000 || most > 15*time.Second {
			t.Errorf("a fresh event took %s while %d events waited, want at most 15s, and 1,000 events", most, pending)
		}
		o.finish()
	})
}

// Without a CatchUp, and after an outage of less than 10 s with it, the order of each key is kept.
func TestCatchUp_KeepsOrderWithoutAnOutage(t *testing.T) {
	for _, c := range []struct {
		share  float64
		outage time.Duration
	}{{0, time.Hour}, {0.3, 8 * time.Second}} {
		synctest.Test(t, func(t *testing.T) {
			o := newBroken(t, 20_000, shipper.CatchUp{FreshShare: c.share})
			o.svc.gapped = false
			o.src.sendLong(10, 200, 30)
			time.Sleep(c.outage - 4*time.Second)
			o.src.sendLong(3000, 200, 30)
			o.set(true)
			time.Sleep(10 * time.Second)
			o.src.sendLong(300, 200, 30)
			o.finish()
		})
	}
}

// A link that fails again and again: what is fresh is what came after the last outage, and the progress that the log
// keeps of a lane has no more than a few runs.
func TestCatchUp_ManyOutages(t *testing.T) {
	for most, mode := range map[int]shipper.CatchUp{10: {FreshShare: 0.5}, 100: {Latest: true}} {
		synctest.Test(t, func(t *testing.T) {
			o := newBroken(t, 20_000, mode)
			o.src.sendLong(20_000, 200, 30)
			runs := 0
			for n := range 40 {
				time.Sleep(20 * time.Second)
				o.set(true)
				time.Sleep(5 * time.Second)
				key := fmt.Sprint("f", n)
				o.src.append(key, 1, 190)
				time.Sleep(20 * time.Second)
				if n < 5 && !o.svc.has(key, 1) {
					t.Errorf("outage %d: the event after it has not arrived", n)
				}
				for lane, p := range o.place().Lanes() {
					if runs = max(runs, len(p.Settled)); runs > most {
						t.Errorf("outage %d: lane %d has %d runs, want at most %d", n, lane, len(p.Settled), most)
					}
				}
				o.set(false)
				o.src.sendLong(100, 200, 30)
			}
			if runs < 3 {
				t.Errorf("at most %d runs: nothing is tested", runs)
			}
			o.set(true)
			o.finish()
		})
	}
}

// A shipper that starts with old events catches up as after an outage. Events that arrived before the restart are not
// sent again, also with another setting.
func TestCatchUp_Restarts(t *testing.T) {
	for _, mode := range []shipper.CatchUp{{}, {FreshShare: 0.3}, {Latest: true}} {
		synctest.Test(t, func(t *testing.T) {
			o := newBroken(t, 20_000, shipper.CatchUp{FreshShare: 0.3})
			o.svc.scattered = mode.Latest
			o.set(true)
			time.Sleep(time.Second)
			o.ship.Halt(t.Context())
			<-o.done
			o.src.sendLong(6000, 200, 30)
			time.Sleep(time.Hour)
			o.start()
			time.Sleep(10 * time.Second)
			o.src.append("f1", 1, 190)
			time.Sleep(20 * time.Second)
			if !o.svc.has("f1", 1) {
				t.Error("the fresh event has not arrived")
			}
			o.ship.Halt(t.Context())
			<-o.done
			o.opts.CatchUp = mode
			o.start()
			o.src.append("f1", 1, 190)
			o.finish()
			if o.svc.again > 0 {
				t.Errorf("%d events arrived twice", o.svc.again)
			}
		})
	}
}

// A part of the backlog becomes unreadable while the destination catches up: each event arrives, or counts as lost, once.
func TestCatchUp_DamagedBacklog(t *testing.T) {
	lost := uint64(0)
	for seed := range uint64(10) {
		synctest.Test(t, func(t *testing.T) {
			drawn := rand.New(rand.NewPCG(seed, 74))
			svc := newService(t, kinesisShape())
			svc.gapped, svc.gaps, svc.delay = true, true, time.Duration(20+drawn.IntN(200))*time.Millisecond
			var said bytes.Buffer
			r := &rig{t: t, svc: svc, dir: fastDir(t)}
			r.log, r.dead = openLog(t, r.dir), deadletter.Open(r.dir, deadletter.Options{})
			r.src = &source{t: t, log: r.log, n: make(map[string]int)}
			mode := []shipper.CatchUp{{FreshShare: 0.3}, {Latest: true}}[seed%2]
			svc.scattered = mode.Latest
			r.opts = shipper.Options{Memory: 64<<10 + drawn.IntN(256<<10), CatchUp: mode,
				Logger: hclog.New(&hclog.LoggerOptions{Output: &said, Level: hclog.Error})}
			for range 80 {
				r.src.append(fmt.Sprint("k", drawn.IntN(12)), 1+drawn.IntN(20), 1000)
			}
			time.Sleep(time.Minute)
			r.start()
			time.Sleep(time.Duration(drawn.IntN(1000)) * time.Millisecond)
			for range 20 {
				r.src.append(fmt.Sprint("k", drawn.IntN(12)), 1+drawn.IntN(20), 1000)
			}
			files, err := filepath.Glob(filepath.Join(r.dir, "wal", "*.seg"))
			testkit.Must(t, err)
			if n := len(files) - 2; n > 0 { // the last may be ready to follow the newest
				testkit.Overwrite(t, files[drawn.IntN(n)], int64(drawn.IntN(8))*4096+16<<10, bytes.Repeat([]byte{0xff}, 8<<10))
			}
			time.Sleep(time.Duration(drawn.IntN(3000)) * time.Millisecond)
			st := r.finish()
			lost += st.Dropped[wal.DroppedCorrupt].Events
			if got := uint64(svc.total); got != st.Delivered.Events || st.Settled() != st.Appended {
				t.Errorf("seed %d: got %+v with %d events that arrived", seed, st, got)
			}
			if strings.Contains(said.String(), "internal fault") {
				t.Errorf("seed %d: %s", seed, said.String())
			}
		})
	}
	if lost == 0 {
		t.Error("nothing was lost; nothing is tested")
	}
}

// The report has the time of the newest event that was delivered, not of the last one.
func TestReport_NewestDeliveredEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newBroken(t, 20_000, shipper.CatchUp{FreshShare: 0.3})
		o.src.sendLong(3000, 200, 30) // their time is 1
		time.Sleep(time.Minute)
		if got := o.ship.Report().Newest; got != 0 {
			t.Errorf("before the first delivery: got %d, want 0", got)
		}
		o.set(true)
		time.Sleep(5 * time.Second)
		o.src.at = 7
		o.src.append("f1", 1, 190)
		time.Sleep(20 * time.Second)
		if got := o.ship.Report().Newest; got != 7 || o.place().Stat().Pending.Events == 0 {
			t.Errorf("beside the backlog: got %d, want 7, with %d events pending", got, o.place().Stat().Pending.Events)
		}
		o.finish()
	})
}

// After an outage the report has its end until its backlog is through, whatever comes meanwhile and in each order; the log has a
// line then.
func TestReport_CatchingUp(t *testing.T) {
	for _, mode := range []shipper.CatchUp{{}, {FreshShare: 0.3}, {Latest: true}} {
		synctest.Test(t, func(t *testing.T) {
			var said bytes.Buffer
			o := newBroken(t, 20_000, mode)
			o.ship.Halt(t.Context())
			<-o.done
			o.opts.Logger = hclog.New(&hclog.LoggerOptions{Output: &said})
			o.start()
			o.src.sendLong(3000, 200, 30)
			time.Sleep(time.Minute)
			if got := o.ship.Report(); !got.CatchingUp.IsZero() || got.Since.IsZero() {
				t.Errorf("%+v: during the outage: got %+v, want that it fails and does not catch up", mode, got)
			}
			o.set(true)
			began := time.Now()
			time.Sleep(15 * time.Second)
			o.src.sendLong(100, 200, 30)
			if got := o.ship.Report(); got.CatchingUp.Before(began) || got.CatchingUp.After(began.Add(10*time.Second)) || !got.Since.IsZero() || got.Sent < 100_000 {
				t.Errorf("%+v: beside the backlog: got %+v, want that it catches up since the outage", mode, got)
			}
			for o.place().Stat().Pending.Events > 0 {
				time.Sleep(100 * time.Millisecond)
			}
			time.Sleep(time.Second)
			if got := o.ship.Report(); !got.CatchingUp.IsZero() {
				t.Errorf("%+v: at the end: got %+v, want that it does not catch up", mode, got)
			}
			o.finish()
			if n := strings.Count(said.String(), "the destination has caught up"); n != 1 {
				t.Errorf("%+v: %d lines that it has caught up, want 1:\n%s", mode, n, said.String())
			}
		})
	}
}

// The request that ends the outage has old events. After it the newest event of each key of the backlog arrives before
// the others of the key, which arrive in order.
func TestCatchUp_NewestOfEachKeyFirst(t *testing.T) {
	for seed := range uint64(5) {
		synctest.Test(t, func(t *testing.T) {
			drawn := rand.New(rand.NewPCG(seed, 75))
			o := newBroken(t, 20_000, shipper.CatchUp{Latest: true})
			for range 2000 {
				o.src.append(fmt.Sprint("k", drawn.IntN(100)*drawn.IntN(3)), 1, 150+drawn.IntN(100))
			}
			newest := make(map[string]bool)
			for key, n := range o.src.n {
				newest[fmt.Sprintf("%s %d", key, n)] = true
			}
			time.Sleep(time.Minute)
			o.set(true)
			time.Sleep(time.Duration(1+drawn.IntN(10)) * time.Second)
			for key := range 20 {
				o.src.append(fmt.Sprint("f", key), 1, 190)
			}
			o.finish()
			all, rest := o.arrived(), make(map[string]int)
			for _, p := range all {
				switch n := 0; {
				case p.fresh || p.at.Equal(all[0].at):
				case newest[p.payload]:
					if rest[p.key] > 0 {
						t.Errorf("seed %d: %q arrives after event %d of the key", seed, p.payload, rest[p.key])
					}
				default:
					fmt.Sscanf(p.payload, p.key+" %d", &n)
					if n <= rest[p.key] {
						t.Errorf("seed %d: of the rest, %q arrives after event %d", seed, p.payload, rest[p.key])
					}
					rest[p.key] = n
				}
			}
			if len(rest) < 50 || o.svc.again > 0 {
				t.Errorf("seed %d: %d keys have a rest, and %d events arrived twice", seed, len(rest), o.svc.again)
			}
		})
	}
}

// The newest event of one key fails for a while, beside newest and fresh events of its lane that are stored. The events of the
// backlog between those are not taken for settled, also after a restart.
func TestCatchUp_NewestEventOfAKeyFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newBroken(t, 20_000, shipper.CatchUp{Latest: true})
		keys, stuck := keysOfLanes(4, 1), true
		outage := o.svc.faults
		o.svc.faults = func(r *rand.Rand, batch []shipper.Record) fault {
			f := outage(r, batch)
			f.failed = make(map[int]*shipper.Error)
			for i := range batch {
				if batch[i].Key == keys[0] && stuck {
					f.failed[i] = failure(shipper.Transient, "slow")
				}
			}
			return f
		}
		o.src.sendLong(600, 200, 100) // more than the request that ends the outage takes
		for _, key := range keys[:3] {
			o.src.append(key, 50, 190)
		}
		time.Sleep(time.Minute)
		o.set(true)
		for range 50 { // some of them are in one request with the newest events
			o.src.append(keys[3], 1, 190)
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(time.Minute)
		o.ship.Halt(t.Context())
		<-o.done
		o.start()
		o.svc.mu.Lock()
		stuck = false
		o.svc.mu.Unlock()
		o.finish()
	})
}

// lingering is a service whose requests return a little later than they end.
type lingering struct{ *service }

func (s lingering) Send(ctx context.Context, batch []shipper.Record) shipper.Response {
	defer time.Sleep(100 * time.Millisecond)
	return s.service.Send(ctx, batch)
}

// The destination fails again, or hangs, before it has the newest events of the keys. Old events are dropped then too, so they
// do not fill the log.
func TestCatchUp_DropsWhileTheNewestWait(t *testing.T) {
	const maxAge = 6 * time.Minute
	for _, failing := range []fault{{err: failure(shipper.Transient, "connection")}, {hang: true}} {
		synctest.Test(t, func(t *testing.T) {
			svc, passes := newService(t, kinesisShape()), 0
			svc.gaps, svc.gapped, svc.scattered = true, true, true
			svc.faults = func(*rand.Rand, []shipper.Record) fault {
				if passes--; passes >= 0 {
					return fault{}
				}
				return failing
			}
			pass := func(requests int) {
				svc.mu.Lock()
				defer svc.mu.Unlock()
				passes = requests
			}
			r := &rig{t: t, dir: fastDir(t), svc: svc, policy: wal.Policy{MaxAge: maxAge}}
			var said bytes.Buffer
			r.opts = shipper.Options{CatchUp: shipper.CatchUp{Latest: true}, Retry: shipper.Retry{Max: 2 * time.Second, Timeout: time.Hour},
				Logger: hclog.New(&hclog.LoggerOptions{Output: &said, Level: hclog.Error})}
			r.sink = lingering{svc}
			r.log, r.dead = r.open(), deadletter.Open(r.dir, deadletter.Options{})
			r.src = &source{t: t, log: r.log, n: make(map[string]int)}
			for range 300 {
				r.src.append("k", 1, 1000)
				time.Sleep(time.Second)
			}
			pass(1)
			r.start()
			for range 14 { // the newest event is dropped too at last
				time.Sleep(30 * time.Second)
				synctest.Wait()
				if at := r.place().Stat().OldestPending; !at.IsZero() && time.Since(at) > maxAge+maxAge/16 {
					t.Errorf("the oldest event is %s old, want it dropped after %s", time.Since(at), maxAge)
				}
			}
			pass(1 << 30)
			if st := r.finish(); droppedOf(st) < 200 || st.Delivered.Events == 0 {
				t.Errorf("got %d events dropped and %d delivered", droppedOf(st), st.Delivered.Events)
			}
			if strings.Contains(said.String(), "internal fault") {
				t.Error(said.String())
			}
		})
	}
}

// Each start finds a backlog that the link is too slow for. The progress that the log keeps of a lane has no more than a few
// runs, and no event is sent twice.
func TestCatchUp_ManyRestarts(t *testing.T) {
	for most, mode := range map[int]shipper.CatchUp{12: {FreshShare: 0.5}, 110: {Latest: true}} {
		synctest.Test(t, func(t *testing.T) {
			o := newBroken(t, 6000, mode)
			o.src.sendLong(10_000, 200, 120)
			o.set(true)
			runs := 0
			for range 25 {
				time.Sleep(15 * time.Second)
				o.src.sendLong(200, 200, 120)
				time.Sleep(15 * time.Second)
				o.ship.Halt(t.Context())
				<-o.done
				for lane, p := range o.place().Lanes() {
					if runs = max(runs, len(p.Settled)); runs > most {
						t.Fatalf("lane %d has %d runs, want at most %d", lane, len(p.Settled), most)
					}
				}
				o.src.sendLong(1000, 200, 120) // more than fresh events may send until the next start
				o.start()
			}
			if o.place().Stat().Pending.Events == 0 || runs < 3 {
				t.Errorf("at most %d runs: nothing is tested", runs)
			}
			o.finish()
			if o.svc.again > 0 {
				t.Errorf("%d events arrived twice", o.svc.again)
			}
		})
	}
}

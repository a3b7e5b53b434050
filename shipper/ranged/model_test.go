package ranged_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/ranged"
	"github.com/standpipe/standpipe/wal"
)

// model is a run with drawn appends, faults, floors and crashes.
type model struct {
	t     *testing.T
	r     *rand.Rand
	log   *memory
	store *store
	sink  *sink
	ship  *ranged.Shipper
	stop  context.CancelFunc
	done  chan error

	calm  bool // no more faults
	share float64
	deaf  bool
}

// Each event is delivered exactly once, or dropped, or a dead letter, and the ledger has it once, whatever fails.
func TestShipper_DeliversEachEventOnce(t *testing.T) {
	rounds := uint64(400)
	if testing.Short() {
		rounds = 60
	}
	first := rand.Uint64N(1 << 40)
	for seed := first; seed < first+rounds; seed++ {
		synctest.Test(t, func(t *testing.T) {
			m := newModel(t, seed)
			m.run()
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		})
	}
}

func newModel(t *testing.T, seed uint64) *model {
	r := rand.New(rand.NewPCG(seed, 0))
	m := &model{t: t, r: r, log: newMemory(t), store: newStore(t), share: []float64{0, 0.1, 0.4}[r.IntN(3)], deaf: r.IntN(4) == 0}
	m.log.held = m.store.holds
	reads := rand.New(rand.NewPCG(seed, 1))
	if m.share > 0 {
		m.log.faults = func() bool {
			m.log.mu.Lock()
			defer m.log.mu.Unlock()
			return !m.calm && reads.IntN(30) == 0
		}
	}
	m.sink = &sink{t: t, store: m.store, transactions: r.IntN(2) == 0, limit: 1 + r.IntN(60), age: time.Duration(r.IntN(3)) * time.Second}
	if r.IntN(3) == 0 {
		for range r.IntN(8) {
			m.store.poison[1+r.Uint64N(300)] = true
		}
	}
	m.start()
	return m
}

func (m *model) start() {
	draw := random(rand.New(rand.NewPCG(m.r.Uint64(), 2)), m.share, m.deaf)
	m.sink = &sink{t: m.t, store: m.store, transactions: m.sink.transactions, limit: m.sink.limit, age: m.sink.age,
		synced: func(state []byte) bool {
			m.log.mu.Lock()
			defer m.log.mu.Unlock()
			return bytes.Equal(m.log.disk.state, state)
		},
		fault: func(call string) fault {
			f := draw(call)
			m.log.mu.Lock()
			defer m.log.mu.Unlock()
			if m.calm {
				return fault{delay: f.delay}
			}
			return f
		}}
	m.ship = ranged.New(ranged.Options{
		Source: m.log.log(), Cursor: memoryCursor{m.log}, Sink: m.sink, Dead: m.log, ReadBytes: 1 << m.r.IntN(14),
		Retry: shipper.Retry{Initial: 100 * time.Millisecond, Max: 2 * time.Second, Timeout: time.Second},
	})
	var ctx context.Context
	ctx, m.stop = context.WithCancel(context.Background())
	m.done = make(chan error, 1)
	ship := m.ship
	go func() { m.done <- ship.Run(ctx) }()
}

// end waits for Run and for the last call of the sink.
func (m *model) end() {
	err := <-m.done
	m.stop()
	if err != nil && !errors.Is(err, shipper.ErrStuck) && !errors.Is(err, context.Canceled) {
		m.t.Errorf("run: %v", err)
	}
	if errors.Is(err, shipper.ErrStuck) && !m.deaf {
		m.t.Errorf("run: %v", err)
	}
	<-m.ship.Ended()
}

func (m *model) run() {
	for range 20 + m.r.IntN(40) {
		time.Sleep(time.Duration(m.r.IntN(300)) * time.Millisecond)
		switch m.r.IntN(20) {
		case 0: // a crash
			m.stop()
			m.end()
			m.log.crash()
			m.start()
		case 1: // a stop
			ctx, cancel := context.WithTimeout(context.Background(), time.Duration(m.r.IntN(2000))*time.Millisecond)
			m.ship.Halt(ctx)
			m.end()
			cancel()
			m.start()
		case 2:
			if m.r.IntN(3) == 0 {
				m.log.raise(wal.Floor{Age: m.r.Uint64N(m.log.Next("") + 1)}, false)
			}
		case 3:
			if m.r.IntN(3) == 0 {
				m.log.raise(wal.Floor{Full: m.r.Uint64N(m.log.Next("") + 1)}, true)
			}
		case 4: // a checkpoint
			m.log.mu.Lock()
			m.log.disk = m.log.cursor.clone()
			m.log.mu.Unlock()
		default:
			for range m.r.IntN(20) {
				m.log.append(fmt.Sprint("k", m.r.IntN(20)), make([]byte, m.r.IntN(200)))
			}
		}
	}
	m.log.mu.Lock()
	m.calm, m.log.full = true, false
	m.log.mu.Unlock()
	m.ship.Finish()
	m.end()
	m.check()
}

func (m *model) check() {
	st := memoryCursor{m.log}.Stat()
	if st.Pending.Events > 0 || st.Settled() != st.Appended {
		m.t.Errorf("got %+v, want nothing pending", st)
	}
	for i := range m.log.events {
		offset := m.log.events[i].Offset
		held, dead, dropped := m.store.wrote[offset], m.log.dead[offset], m.log.dropped[offset]
		switch {
		case held > 1:
			m.t.Errorf("event %d was stored %d times", offset, held)
		case held == 0 && !dead && !dropped:
			m.t.Errorf("event %d is nowhere", offset)
		case held > 0 && dead || dead && !m.store.poison[offset]:
			m.t.Errorf("event %d is a dead letter, and stored %d times", offset, held)
		case dropped && m.share == 0 && held > 0:
			m.t.Errorf("event %d was dropped and stored", offset)
		}
	}
}

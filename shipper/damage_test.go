package shipper_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/test/testkit"
	"github.com/standpipe/standpipe/wal"
)

// A segment becomes unreadable while the shipper holds some of its events in memory. Those are delivered. The others are
// lost, and each event counts once, also after a restart.
func TestDamage_CostsNoEventInMemory(t *testing.T) {
	lost := uint64(0)
	for seed := range uint64(10) {
		synctest.Test(t, func(t *testing.T) {
			drawn := rand.New(rand.NewPCG(seed, 73))
			svc := newService(t, kinesisShape())
			svc.gaps = true
			var fails atomic.Bool
			svc.faults = func(r *rand.Rand, batch []shipper.Record) fault {
				f := randomFault(r, batch)
				if fails.Load() {
					f.err = &shipper.Error{Class: shipper.Transient, Code: "503", Record: -1}
				}
				f.stored = false
				return f
			}
			var said bytes.Buffer
			r := newLogRig(t, svc)
			r.opts = shipper.Options{Memory: 64<<10 + drawn.IntN(512<<10), Logger: hclog.New(&hclog.LoggerOptions{Output: &said, Level: hclog.Error})}
			r.restart()
			fails.Store(seed%2 == 0)
			for range 60 {
				r.src.append(fmt.Sprint("k", drawn.IntN(12)), 1+drawn.IntN(20), 1000)
			}
			time.Sleep(time.Duration(drawn.IntN(2000)) * time.Millisecond)
			files, err := filepath.Glob(filepath.Join(r.dir, "wal", "*.seg"))
			testkit.Must(t, err)
			if n := len(files) - 2; n > 0 { // the last may be ready to follow the newest
				path := files[drawn.IntN(n)]
				testkit.Overwrite(t, path, int64(drawn.IntN(8))*4096+16<<10, bytes.Repeat([]byte{0xff}, 8<<10))
			}
			fails.Store(false)
			if drawn.IntN(2) == 0 {
				time.Sleep(time.Duration(drawn.IntN(500)) * time.Millisecond)
				r.restart()
			}
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

// Events that counted as lost can be read again later, and the queues are evicted in an outage: the events are not
// delivered, and count once.
func TestDamage_LostEventsThatAreReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := newService(t, kinesisShape())
		svc.gaps, svc.delay = true, 10*time.Second
		var fails atomic.Bool
		fails.Store(true)
		svc.faults = func(*rand.Rand, []shipper.Record) (f fault) {
			if fails.Load() {
				f.err = &shipper.Error{Class: shipper.Transient, Code: "503", Record: -1}
			}
			return f
		}
		var said bytes.Buffer
		r := newLogRig(t, svc)
		r.stop()
		<-r.done
		r.opts = shipper.Options{Memory: 8 << 20, Logger: hclog.New(&hclog.LoggerOptions{Output: &said, Level: hclog.Error})}
		for i := range 80 {
			r.src.append(fmt.Sprint("k", i%40), 50, 1000)
		}
		files, err := filepath.Glob(filepath.Join(r.dir, "wal", "*.seg"))
		testkit.Must(t, err)
		path := files[len(files)/2]
		content, err := os.ReadFile(path)
		testkit.Must(t, err)
		testkit.Overwrite(t, path, 24<<10, bytes.Repeat([]byte{0xff}, 8<<10))
		r.start()
		time.Sleep(5 * time.Second)
		lost := r.place().Stat().Dropped[wal.DroppedCorrupt].Events
		if lost == 0 {
			t.Fatal("nothing is lost")
		}
		testkit.Overwrite(t, path, 0, content)
		time.Sleep(10 * time.Minute)
		fails.Store(false)
		st := r.finish()
		if got := uint64(svc.total); got != 4000-lost || got != st.Delivered.Events || st.Settled() != st.Appended {
			t.Errorf("got %+v with %d events that arrived, want all but the %d lost ones", st, got, lost)
		}
		if strings.Contains(said.String(), "internal fault") {
			t.Error(said.String())
		}
	})
}

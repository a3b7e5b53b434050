package s3_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink/s3"
	"github.com/standpipe/standpipe/test/fakes3"
)

// shapes are destinations whose objects take one request, or several parts.
var shapes = map[string]func(*s3.Options){
	"one request": func(o *s3.Options) { o.RollSize = 200 },
	"parts":       func(o *s3.Options) { o.RollSize = 1000 },
	"gzip":        func(o *s3.Options) { o.Compression = shipper.Gzip },
	"parquet":     func(o *s3.Options) { o.Format, o.RollSize = s3.Parquet, 1500 },
}

// faults are the ways in which one request fails, with and without the end of the process.
var faults = map[string]func(s *stream) fakes3.Fault{
	"error":                 func(*stream) fakes3.Fault { return fakes3.Fault{Status: 503, Code: "SlowDown"} },
	"no connection":         func(*stream) fakes3.Fault { return fakes3.Fault{Cut: true} },
	"response lost":         func(*stream) fakes3.Fault { return fakes3.Fault{Cut: true, Done: true} },
	"late effect":           func(*stream) fakes3.Fault { return fakes3.Fault{Cut: true, Late: 1} },
	"later effect":          func(*stream) fakes3.Fault { return fakes3.Fault{Cut: true, Late: 3} },
	"conflict":              func(*stream) fakes3.Fault { return fakes3.Fault{Status: 409, Code: "ConditionalRequestConflict"} },
	"no upload":             func(*stream) fakes3.Fault { return fakes3.Fault{Status: 404, Code: "NoSuchUpload"} },
	"crash before":          func(s *stream) fakes3.Fault { return fakes3.Fault{Cut: true, Gone: s.crash} },
	"crash after":           func(s *stream) fakes3.Fault { return fakes3.Fault{Cut: true, Done: true, Gone: s.crash} },
	"crash and late effect": func(s *stream) fakes3.Fault { return fakes3.Fault{Cut: true, Late: 2, Gone: s.crash} },
	"crash, later effect":   func(s *stream) fakes3.Fault { return fakes3.Fault{Cut: true, Late: 4, Gone: s.crash} },
	"crash at a success":    func(s *stream) fakes3.Fault { return fakes3.Fault{Gone: s.crash} },
}

func (s *stream) crash() { s.gone.Store(true) }

func TestCommit_HasEachEventOnceWhateverRequestFails(t *testing.T) {
	for shape, change := range shapes {
		for fault, of := range faults {
			if testing.Short() && shape != "parts" {
				continue
			}
			t.Run(shape+"/"+fault, func(t *testing.T) {
				for n := 1; ; n++ {
					srv := fakes3.Start(t)
					s := &stream{events: events(40, 60), chunk: 3}
					srv.Fail = func(r fakes3.Request) fakes3.Fault {
						if r.N == n {
							return of(s)
						}
						return fakes3.Fault{}
					}
					s.run(t, func() *s3.Sink { return open(t, srv, change) })
					s.drain(t, srv, change)
					s.check(t, srv)
					if srv.Requests() < n {
						break
					}
				}
			})
		}
	}
}

// drain lets late requests have their effect, and opens the sink once more. It aborts uploads that a late request began.
func (s *stream) drain(t *testing.T, srv *fakes3.Server, change func(*s3.Options)) {
	t.Helper()
	srv.Settle()
	s.run(t, func() *s3.Sink { return open(t, srv, change) })
}

// The time changes between the attempts, so a key that is not pinned would change too. Two of the process's crashes follow
// one another.
func TestCommit_HasEachEventOnceThroughTwoCrashes(t *testing.T) {
	for shape, change := range shapes {
		t.Run(shape, func(t *testing.T) {
			most := 20
			if testing.Short() {
				most = 8
			}
			for first := 1; first < most; first++ {
				for gap := 1; gap < 8; gap++ {
					srv := fakes3.Start(t)
					s := &stream{events: events(30, 60), chunk: 4}
					now := time.Now()
					srv.Fail = func(r fakes3.Request) fakes3.Fault {
						switch r.N {
						case first:
							return fakes3.Fault{Cut: true, Late: 2*gap + 1, Gone: s.crash}
						case first + gap:
							return fakes3.Fault{Cut: true, Done: first%2 == 0, Gone: s.crash}
						}
						return fakes3.Fault{}
					}
					at := func(o *s3.Options) {
						change(o)
						now = now.Add(24 * time.Hour)
						day := now
						o.Clock = func() time.Time { return day }
					}
					s.run(t, func() *s3.Sink { return open(t, srv, at) })
					s.drain(t, srv, at)
					s.check(t, srv)
				}
			}
		})
	}
}

// Some services ignore If-None-Match. A range that is written again has the same end, so the object is replaced by one with
// the same events, whether it takes one request or several parts.
func TestCommit_NeedsNoConditionAfterACrash(t *testing.T) {
	for _, rollSize := range []int64{200, 1000} {
		for n := 1; n < 25; n++ {
			for late := range 5 {
				srv := fakes3.Start(t)
				srv.Overwrites = true
				s := &stream{events: events(40, 60), chunk: 3}
				srv.Fail = func(r fakes3.Request) fakes3.Fault {
					if r.N == n {
						return fakes3.Fault{Cut: true, Late: late, Gone: s.crash}
					}
					return fakes3.Fault{}
				}
				opened := int64(0)
				other := func(o *s3.Options) { // the range has the same end though the objects became larger
					o.RollSize = rollSize + 120*opened
					opened++
				}
				s.run(t, func() *s3.Sink { return open(t, srv, other) })
				s.drain(t, srv, other)
				s.check(t, srv)
			}
		}
	}
}

func TestSizes_KeepEachEventOnce(t *testing.T) {
	for _, test := range []struct{ size, roll, objects int }{
		{60, 10, 40},  // every event is larger than an object
		{60, 60, 40},  // exactly one event
		{60, 300, 8},  // exactly one part
		{60, 299, 10}, // a byte less
		{60, 600, 4},  // exactly two parts
		{60, 660, 4},  // and an event
		{300, 300, 40},
		{301, 1000, 14},
		{2000, 1000, 40}, // an event of several parts
		{60, 1 << 20, 1},
	} {
		t.Run(fmt.Sprintf("events of %d, objects of %d", test.size, test.roll), func(t *testing.T) {
			srv := fakes3.Start(t)
			s := &stream{events: events(40, test.size), chunk: 7}
			s.run(t, func() *s3.Sink { return open(t, srv, func(o *s3.Options) { o.RollSize = int64(test.roll) }) })
			s.check(t, srv)
			if got := len(srv.Objects()); got != test.objects {
				t.Errorf("got %d objects, want %d", got, test.objects)
			}
			for key, o := range srv.Objects() {
				if len(o.Body) > max(test.roll, test.size) {
					t.Errorf("%s: got %d bytes, want at most %d", key, len(o.Body), max(test.roll, test.size))
				}
			}
		})
	}
}

package s3_test

import (
	"maps"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/standpipe/standpipe/shipper/ranged"
	"github.com/standpipe/standpipe/shipper/ranged/rangedtest"
	"github.com/standpipe/standpipe/test/fakes3"
	"github.com/standpipe/standpipe/wal"
)

// The other shapes have the faults of TestCommit_HasEachEventOnceWhateverRequestFails.
func TestConformance(t *testing.T) {
	for _, name := range []string{"parts", "parquet"} {
		change := shapes[name]
		t.Run(name, func(t *testing.T) {
			rangedtest.Run(t, func(t *testing.T) rangedtest.Target {
				srv, plan := fakes3.Start(t), new(rangedtest.Plan)
				srv.Fail = func(fakes3.Request) fakes3.Fault { return faultOf(plan.Next()) }
				target := rangedtest.Target{
					Open: func() ranged.Sink { return open(t, srv, change) },
					OpenLarge: func() ranged.Sink {
						s := open(t, srv, change)
						s.SetPartSize(5 << 20)
						return s
					},
					Exact: true, Plan: plan,
					Faults: []rangedtest.Fault{rangedtest.Busy, rangedtest.Denied, rangedtest.Cut, rangedtest.Lost, rangedtest.Hang, rangedtest.HangDone},
					Stored: func() (all []uint64) {
						objects := srv.Objects()
						keys := slices.Collect(maps.Keys(objects))
						slices.SortFunc(keys, func(a, b string) int { return strings.Compare(path.Base(a), path.Base(b)) })
						for _, key := range keys {
							all = append(all, offsets(t, key, objects[key].Body)...)
						}
						return all
					},
					Left: func() int { return len(srv.Uploads()) },
				}
				if name == "parquet" {
					target.Reject = func(e *wal.Event) { e.Data = []byte("\xff") }
				}
				return target
			})
		})
	}
}

// faultOf returns the failure of a request at the stand-in.
func faultOf(f rangedtest.Fault, met func()) fakes3.Fault {
	switch f {
	case rangedtest.Busy:
		return fakes3.Fault{Status: 503, Code: "SlowDown", Gone: met}
	case rangedtest.Denied:
		return fakes3.Fault{Status: 403, Code: "AccessDenied", Gone: met}
	case rangedtest.Cut:
		return fakes3.Fault{Cut: true, Gone: met}
	case rangedtest.Lost:
		return fakes3.Fault{Cut: true, Done: true, Gone: met}
	case rangedtest.Hang:
		return fakes3.Fault{Hang: true, Gone: met}
	case rangedtest.HangDone:
		return fakes3.Fault{Hang: true, Done: true, Gone: met}
	}
	return fakes3.Fault{}
}

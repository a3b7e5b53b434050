package admin_test

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/standpipe/standpipe/agent/admin"
)

// manyStreams returns the state and the metrics of an agent with n busy streams of one destination each, a part of them
// with each kind of trouble.
func manyStreams(n int, seed uint64) (admin.Status, *admin.Metrics) {
	r := rand.New(rand.NewPCG(seed, 0))
	status, m := sample(), admin.NewMetrics()
	status.Streams = nil
	for i := range n {
		name := fmt.Sprintf("site-%d", i)
		d := sampleDestination()
		d.State = []admin.State{admin.Running, admin.Waiting, admin.Blocked, admin.Parked}[r.IntN(4)]
		d.Pending = admin.Pending{Events: r.Uint64N(1000), Bytes: r.Uint64N(1 << 20), OldestSeconds: float64(r.IntN(100))}
		d.NewestDeliveredSeconds = float64(i % 97)
		if d.Dead.Events = 0; r.IntN(10) == 0 {
			d.Dead.Events = 7
			d.Dropped = admin.Dropped{Events: 3, Reasons: admin.Reasons{"age": 3}}
			m.Refused(name, "full", 1+r.IntN(5))
			m.Lost(name, 2)
		}
		for range r.IntN(4) {
			m.Request(name, d.Name, []string{"200", "throttled", "timeout"}[r.IntN(3)], time.Duration(r.IntN(4000))*time.Millisecond)
			m.Retried(name, d.Name, "transient", 1)
		}
		status.Streams = append(status.Streams, admin.StreamStatus{
			Name: name, Appended: admin.Volume{Events: r.Uint64N(1e6), Bytes: r.Uint64N(1e9)}, HeldBytes: 100, MaxBytes: 200,
			Destinations: []admin.DestinationStatus{d},
		})
	}
	return status, m
}

// families scrapes with a choice of the metrics per stream.
func families(t *testing.T, status admin.Status, m *admin.Metrics, choice admin.PerStream) (samples int, all map[string]*dto.MetricFamily) {
	t.Helper()
	s := admin.New(admin.Options{Source: &source{status: status}, Metrics: m, PerStream: func() admin.PerStream { return choice }})
	body := get(t, s, "/metrics")
	for line := range strings.Lines(body) {
		if !strings.HasPrefix(line, "#") {
			samples++
		}
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	all, err := parser.TextToMetricFamilies(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return samples, all
}

// sums returns the sum of each number of a family over all streams, by the other labels.
func sums(f *dto.MetricFamily) map[string]float64 {
	out := make(map[string]float64)
	for _, m := range f.Metric {
		var labels []string
		for _, l := range m.Label {
			if l.GetName() != "stream" {
				labels = append(labels, l.String())
			}
		}
		key := strings.Join(labels, ",")
		out[key] += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		if h := m.GetHistogram(); h != nil {
			out[key+" sum"] += h.GetSampleSum()
			out[key+" count"] += float64(h.GetSampleCount())
			for _, b := range h.Bucket {
				out[fmt.Sprint(key, " ", b.GetUpperBound())] += float64(b.GetCumulativeCount())
			}
		}
	}
	return out
}

func TestBasic_SumsAreThoseOfFull(t *testing.T) {
	status, m := manyStreams(150, 11)
	_, full := families(t, status, m, admin.PerStreamFull)
	_, basic := families(t, status, m, admin.PerStreamBasic)
	for name, f := range full {
		if !strings.HasPrefix(name, "standpipe_") || name == "standpipe_newest_delivered_age_seconds" {
			continue
		}
		got := map[string]float64{}
		if basic[name] != nil {
			got = sums(basic[name])
		}
		for labels, want := range sums(f) {
			if math.Abs(got[labels]-want) > math.Abs(want)*1e-9 {
				t.Errorf("%s{%s}: got a sum of %g, want %g", name, labels, got[labels], want)
			}
		}
	}
}

func TestBasic_AgeOfTheNewestDeliveredEventIsTheHighest(t *testing.T) {
	status, m := manyStreams(150, 16)
	_, basic := families(t, status, m, admin.PerStreamBasic)
	f := basic["standpipe_newest_delivered_age_seconds"]
	if len(f.GetMetric()) != 1 || f.Metric[0].GetGauge().GetValue() != 96 || named(f) != 0 {
		t.Errorf("got %v, want one series of 96 without a stream", f.GetMetric())
	}
}

// A scrape changes nothing that the next one uses: the counters of the streams stay apart, and their sums are complete.
func TestBasic_LaterScrapesHaveTheSameSums(t *testing.T) {
	status, m := manyStreams(150, 15)
	_, full := families(t, status, m, admin.PerStreamFull)
	for range 3 {
		_, basic := families(t, status, m, admin.PerStreamBasic)
		_, again := families(t, status, m, admin.PerStreamFull)
		for _, name := range []string{"standpipe_destination_requests_total", "standpipe_destination_request_seconds", "standpipe_retries_total"} {
			want := sums(full[name])
			rounded(want)
			if got := sums(basic[name]); !maps.Equal(rounded(got), want) {
				t.Errorf("%s: got sums of %v, want %v", name, got, want)
			}
			if got := sums(again[name]); !maps.Equal(rounded(got), want) || named(again[name]) != named(full[name]) {
				t.Errorf("%s: got %d series with sums of %v, want %v", name, len(again[name].Metric), got, want)
			}
		}
	}
}

// named returns the number of series with the name of a stream.
func named(f *dto.MetricFamily) (n int) {
	for _, m := range f.GetMetric() {
		if slices.ContainsFunc(m.Label, func(l *dto.LabelPair) bool { return l.GetName() == "stream" && l.GetValue() != "" }) {
			n++
		}
	}
	return n
}

// rounded returns the sums without the error of another order of additions.
func rounded(sums map[string]float64) map[string]float64 {
	for labels, v := range sums {
		sums[labels] = math.Round(v * 1e6)
	}
	return sums
}

// At 1,000 streams a scrape has under 10,000 samples, and each stream still has its events, its backlog and its trouble.
func TestBasic_ThousandStreams(t *testing.T) {
	status, m := manyStreams(1000, 12)
	samples, got := families(t, status, m, admin.PerStreamAuto)
	if samples >= 10_000 {
		t.Errorf("got %d samples, want under 10,000", samples)
	}
	for name, want := range map[string]int{
		"standpipe_appended_events_total": 1000, "standpipe_pending_events": 1000, "standpipe_oldest_pending_seconds": 1000,
		"standpipe_dead_events_total": 1000, "standpipe_destination_state": 1000,
		"standpipe_destination_request_seconds": 1, "standpipe_destination_billed_bytes_total": 1, "standpipe_retries_total": 3,
	} {
		if f := got[name]; f == nil || len(f.Metric) != want {
			t.Errorf("%s: got %d series, want %d", name, len(f.GetMetric()), want)
		}
	}
	for _, m := range got["standpipe_destination_state"].Metric {
		if m.GetGauge().GetValue() != 1 {
			t.Errorf("got a state that is not the destination's: %v", m)
		}
	}
}

func TestBasic_FromTheHundredAndFirstDestination(t *testing.T) {
	for n, full := range map[int]bool{admin.MaxFull: true, admin.MaxFull + 1: false} {
		status, m := manyStreams(n, 13)
		_, got := families(t, status, m, admin.PerStreamAuto)
		want := 1
		if full {
			want = n
		}
		if got := len(got["standpipe_destination_request_seconds"].GetMetric()); got != want {
			t.Errorf("%d destinations: got %d histograms, want %d", n, got, want)
		}
		wantFull, _ := families(t, status, m, admin.PerStreamFull)
		if samples, _ := families(t, status, m, admin.PerStreamAuto); (samples == wantFull) != full {
			t.Errorf("%d destinations: got %d samples; full has %d", n, samples, wantFull)
		}
	}
}

func TestBasic_OfAnEmptyAgent(t *testing.T) {
	_, got := families(t, admin.Status{}, nil, admin.PerStreamBasic)
	if got["standpipe_wal_bytes"] == nil || got["standpipe_refused_events_total"] != nil {
		t.Errorf("got %v", got)
	}
}

func BenchmarkScrape(b *testing.B) {
	for _, n := range []int{1, 100, 1000} {
		b.Run(fmt.Sprintf("streams=%d", n), func(b *testing.B) {
			status, m := manyStreams(n, 14)
			s := admin.New(admin.Options{Source: &source{status: status}, Metrics: m})
			b.ReportAllocs()
			for b.Loop() {
				s.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/metrics", nil))
			}
		})
	}
}

// The figures of a snapshot do not pass through a registry, so its checks are made here.
func TestCollector_PassesTheRegistry(t *testing.T) {
	for i, streams := range []int{1, 2, 5, 15, 40} {
		status, m := manyStreams(streams, 20+uint64(i))
		for _, basic := range []bool{false, true} {
			families, err := admin.GatherChecked(status, m, basic)
			if err != nil {
				t.Fatalf("basic %v: %v", basic, err)
			}
			for _, f := range families {
				names := slices.Collect(func(yield func(string) bool) {
					for _, l := range f.Metric[0].Label {
						yield(l.GetName())
					}
				})
				if !slices.IsSorted(names) {
					t.Errorf("%s: the labels %q are not sorted", f.GetName(), names)
				}
			}
			problems, err := promlint.NewWithMetricFamilies(families).Lint()
			if err != nil || len(problems) > 0 {
				t.Errorf("basic %v: got %v, %v", basic, problems, err)
			}
		}
	}
}

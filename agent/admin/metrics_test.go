package admin_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/standpipe/standpipe/agent/admin"
)

// The contract's metrics: name, type and labels.
var contract = map[string]string{
	"standpipe_appended_events_total":                "COUNTER stream",
	"standpipe_appended_bytes_total":                 "COUNTER stream",
	"standpipe_refused_events_total":                 "COUNTER reason,stream",
	"standpipe_accepted_lost_events_total":           "COUNTER stream",
	"standpipe_identity_appended_events_total":       "COUNTER identity",
	"standpipe_identity_appended_bytes_total":        "COUNTER identity",
	"standpipe_identity_refused_events_total":        "COUNTER identity,reason",
	"standpipe_unauthenticated_requests_total":       "COUNTER ",
	"standpipe_delivered_events_total":               "COUNTER destination,stream",
	"standpipe_delivered_bytes_total":                "COUNTER destination,stream",
	"standpipe_dead_events_total":                    "COUNTER destination,stream",
	"standpipe_dead_letters":                         "GAUGE destination,stream",
	"standpipe_dropped_events_total":                 "COUNTER destination,reason,stream",
	"standpipe_retries_total":                        "COUNTER destination,reason,stream",
	"standpipe_destination_requests_total":           "COUNTER code,destination,stream",
	"standpipe_destination_records_total":            "COUNTER destination,stream",
	"standpipe_destination_billed_bytes_total":       "COUNTER destination,stream",
	"standpipe_destination_put_units_total":          "COUNTER destination,stream",
	"standpipe_pending_events":                       "GAUGE destination,stream",
	"standpipe_pending_bytes":                        "GAUGE destination,stream",
	"standpipe_oldest_pending_seconds":               "GAUGE destination,stream",
	"standpipe_newest_delivered_age_seconds":         "GAUGE destination,stream",
	"standpipe_destination_pace_bytes":               "GAUGE destination,stream",
	"standpipe_destination_shards":                   "GAUGE destination,stream",
	"standpipe_destination_waiting":                  "GAUGE destination,reason,stream",
	"standpipe_wal_bytes":                            "GAUGE ",
	"standpipe_wal_max_bytes":                        "GAUGE ",
	"standpipe_wal_retained_bytes":                   "GAUGE ",
	"standpipe_wal_segments":                         "GAUGE ",
	"standpipe_wal_failed":                           "GAUGE ",
	"standpipe_wal_written_bytes_total":              "COUNTER ",
	"standpipe_device_written_bytes_total":           "COUNTER ",
	"standpipe_link_sent_bytes_total":                "COUNTER ",
	"standpipe_link_received_bytes_total":            "COUNTER ",
	"standpipe_disk_free_bytes":                      "GAUGE ",
	"standpipe_accepting":                            "GAUGE ",
	"standpipe_ready":                                "GAUGE ",
	"standpipe_build_info":                           "GAUGE commit,goversion,version",
	"standpipe_config_last_reload_success":           "GAUGE ",
	"standpipe_config_last_reload_timestamp_seconds": "GAUGE ",
	"standpipe_certificate_expiry_timestamp_seconds": "GAUGE file",
	"standpipe_destination_state":                    "GAUGE destination,state,stream",
	"standpipe_problems":                             "GAUGE kind",
	"standpipe_wal_set_aside_files":                  "GAUGE ",
	"standpipe_wal_state_bytes":                      "GAUGE ",
	"standpipe_wal_max_state_bytes":                  "GAUGE ",
	"standpipe_dead_letters_bytes":                   "GAUGE ",
	"standpipe_dead_letters_max_bytes":               "GAUGE ",
	"standpipe_stream_held_bytes":                    "GAUGE stream",
	"standpipe_stream_max_bytes":                     "GAUGE stream",
	"standpipe_append_seconds":                       "HISTOGRAM listener",
	"standpipe_commit_seconds":                       "HISTOGRAM ",
	"standpipe_commit_events":                        "HISTOGRAM ",
	"standpipe_destination_request_seconds":          "HISTOGRAM destination,stream",
}

// moved is a Metrics in which everything has happened.
func moved() *admin.Metrics {
	m := admin.NewMetrics()
	m.Appended("grpc", 400*time.Microsecond)
	m.Commit(1000, 3*time.Millisecond)
	m.Lost("clicks", 2)
	m.Request("clicks", "archive", "200", 80*time.Millisecond)
	m.Request("clicks", "archive", "timeout", 30*time.Second)
	m.Retried("clicks", "archive", "throttled", 3)
	m.Refused("clicks", "full", 5)
	return m
}

// family is a metric as it was scraped.
type family struct {
	kind   string
	series []map[string]string // each by its labels
}

func scrape(t *testing.T, s *admin.Server) map[string]family {
	t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	parsed, err := parser.TextToMetricFamilies(strings.NewReader(get(t, s, "/metrics")))
	if err != nil {
		t.Fatal(err)
	}
	families := map[string]family{}
	for name, p := range parsed {
		f := family{kind: p.GetType().String()}
		for _, m := range p.Metric {
			labels := map[string]string{}
			for _, l := range m.Label {
				labels[l.GetName()] = l.GetValue()
			}
			f.series = append(f.series, labels)
		}
		families[name] = f
	}
	return families
}

func TestMetrics_AreTheContracts(t *testing.T) {
	got := map[string]string{}
	for name, family := range scrape(t, admin.New(admin.Options{Source: &source{status: sample()}, Metrics: moved(), Kinds: []string{"behind"}})) {
		if strings.HasPrefix(name, "standpipe_") {
			labels := slices.Sorted(maps.Keys(family.series[0]))
			got[name] = family.kind + " " + strings.Join(labels, ",")
		}
	}
	if !maps.Equal(got, contract) {
		t.Errorf("got %v\nwant %v", got, contract)
	}
}

// The page for operators lists every metric with its labels.
func TestMetrics_StandInTheManual(t *testing.T) {
	page, err := os.ReadFile("../../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, kind := range contract {
		row := regexp.MustCompile("(?m)^\\|[^|]*`" + name + "`[^|]*\\|([^|]*)\\|$").FindSubmatch(page)
		if row == nil {
			t.Errorf("docs/operating.md has no row with %s", name)
			continue
		}
		_, labels, _ := strings.Cut(kind, " ")
		got := strings.FieldsFunc(string(row[1]), func(r rune) bool { return strings.ContainsRune("`, ", r) })
		slices.Sort(got)
		if strings.Join(got, ",") != labels {
			t.Errorf("%s: docs/operating.md has the labels %q, want %q", name, got, labels)
		}
	}
}

func TestMetrics_AreClean(t *testing.T) {
	body := get(t, serve(&source{status: sample()}, moved()), "/metrics")
	problems, err := promlint.New(strings.NewReader(body)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	wantText(t, body, "go_goroutines ", "process_resident_memory_bytes ")
}

func TestMetrics_MatchTheLedger(t *testing.T) {
	status := sample()
	d := &status.Streams[0].Destinations[0]
	d.Dead.Events, d.DeadLetters, d.Delivered.Events = 3, 2, 8996
	d.Dropped = admin.Dropped{Events: 1, Reasons: admin.Reasons{"age": 1}}
	wantText(t, get(t, serve(&source{status: status}, moved()), "/metrics"),
		`standpipe_appended_events_total{stream="clicks"} 10000`,
		`standpipe_appended_bytes_total{stream="clicks"} 5.12e+06`,
		`standpipe_stream_held_bytes{stream="clicks"} 576000`, `standpipe_stream_max_bytes{stream="clicks"} 1.073741824e+09`,
		`standpipe_delivered_events_total{destination="archive",stream="clicks"} 8996`,
		`standpipe_dead_events_total{destination="archive",stream="clicks"} 3`,
		`standpipe_dead_letters{destination="archive",stream="clicks"} 2`,
		`standpipe_dropped_events_total{destination="archive",reason="age",stream="clicks"} 1`,
		`standpipe_dropped_events_total{destination="archive",reason="full",stream="clicks"} 0`,
		`standpipe_pending_events{destination="archive",stream="clicks"} 1000`,
		`standpipe_pending_bytes{destination="archive",stream="clicks"} 512000`,
		`standpipe_oldest_pending_seconds{destination="archive",stream="clicks"} 1.5`,
		`standpipe_newest_delivered_age_seconds{destination="archive",stream="clicks"} 0.75`,
		`standpipe_destination_pace_bytes{destination="archive",stream="clicks"} 5.24288e+06`,
		`standpipe_destination_waiting{destination="archive",reason="paced",stream="clicks"} 1`,
		`standpipe_destination_waiting{destination="archive",reason="bandwidth",stream="clicks"} 0`,
		`standpipe_destination_records_total{destination="archive",stream="clicks"} 24`,
		`standpipe_destination_billed_bytes_total{destination="archive",stream="clicks"} 4.70016e+06`,
		`standpipe_identity_appended_events_total{identity="metering"} 9000`,
		`standpipe_identity_appended_bytes_total{identity="metering"} 4.608e+06`,
		`standpipe_identity_refused_events_total{identity="metering",reason="rate"} 10`,
		`standpipe_identity_refused_events_total{identity="",reason="rate"} 0`,
		`standpipe_identity_refused_events_total{identity="",reason="forbidden"} 0`,
		"standpipe_unauthenticated_requests_total 3",
		"standpipe_wal_bytes 1234", "standpipe_wal_max_bytes 8.589934592e+09", "standpipe_wal_segments 3", "standpipe_wal_set_aside_files 1", "standpipe_wal_state_bytes 567", "standpipe_wal_max_state_bytes 1.073741824e+09", "standpipe_dead_letters_bytes 89", "standpipe_dead_letters_max_bytes 1.073741824e+09",
		"standpipe_wal_written_bytes_total 8192", "standpipe_device_written_bytes_total 12288", "standpipe_link_sent_bytes_total 3000", "standpipe_link_received_bytes_total 400",
	)
}

func TestMetrics_CountAppendsAndRequests(t *testing.T) {
	wantText(t, get(t, serve(&source{status: sample()}, moved()), "/metrics"),
		`standpipe_refused_events_total{reason="full",stream="clicks"} 5`,
		`standpipe_accepted_lost_events_total{stream="clicks"} 2`,
		`standpipe_retries_total{destination="archive",reason="throttled",stream="clicks"} 3`,
		`standpipe_destination_requests_total{code="timeout",destination="archive",stream="clicks"} 1`,
		`standpipe_destination_request_seconds_count{destination="archive",stream="clicks"} 2`,
		`standpipe_append_seconds_bucket{listener="grpc",le="0.00025"} 0`,
		`standpipe_append_seconds_bucket{listener="grpc",le="0.0005"} 1`,
		`standpipe_commit_events_sum 1000`,
		`standpipe_commit_seconds_count 1`,
	)
}

func TestMetrics_ExistBeforeTheFirstEvent(t *testing.T) {
	wantText(t, get(t, serve(&source{status: sample()}, nil), "/metrics"),
		`standpipe_refused_events_total{reason="full",stream="clicks"} 0`,
		`standpipe_accepted_lost_events_total{stream="clicks"} 0`,
		`standpipe_retries_total{destination="archive",reason="operator",stream="clicks"} 0`,
		`standpipe_destination_request_seconds_count{destination="archive",stream="clicks"} 0`,
	)
}

func TestMetrics_OfAnEmptyAgent(t *testing.T) {
	wantText(t, get(t, serve(&source{}, nil), "/metrics"), "standpipe_wal_bytes 0", "standpipe_commit_seconds_count 0")
}

func TestMetrics_WithHostileNames(t *testing.T) {
	const hostile = "a\xff\"\n{}\\"
	status := sample()
	status.Streams[0].Name = hostile
	status.Streams[0].Destinations[0].Name = hostile
	status.Streams[0].Destinations[0].Dropped.Reasons = admin.Reasons{hostile: 0}
	status.Access.Identities[0] = admin.IdentityStatus{Name: hostile, Refused: admin.RefusedEvents{Reasons: map[string]uint64{hostile: 1}}}
	m := admin.NewMetrics()
	m.Appended(hostile, -time.Second)
	m.Request(hostile, hostile, hostile, 0)
	m.Retried(hostile, hostile, hostile, -1)
	m.Refused(hostile, hostile, -1)
	families := scrape(t, serve(&source{status: status}, m))
	got := families["standpipe_appended_events_total"].series[0]["stream"]
	if want := "a\uFFFD\"\n{}\\"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestMetrics_LimitRefusedNames(t *testing.T) {
	m := admin.NewMetrics()
	for i := range admin.MaxRefusedStreams + 500 {
		m.Refused(fmt.Sprintf("made-up-%d", i), "full", 2)
	}
	m.Refused("made-up-0", "full", 1)
	if got, want := m.RefusedEvents("made-up-0"), uint64(3); got != want {
		t.Errorf("a known name: got %d, want %d", got, want)
	}
	if got, want := m.RefusedEvents(""), uint64(1000); got != want {
		t.Errorf("the rest: got %d, want %d", got, want)
	}
	refused := scrape(t, serve(&source{}, m))["standpipe_refused_events_total"]
	if got, want := len(refused.series), admin.MaxRefusedStreams+1; got != want {
		t.Errorf("series: got %d, want %d", got, want)
	}
}

func TestMetrics_FromManyGoroutines(t *testing.T) {
	m := admin.NewMetrics()
	s := serve(&source{status: sample()}, m)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 100 {
				m.Refused("clicks", "full", 1)
				m.Request("clicks", "archive", "200", time.Millisecond)
			}
			get(t, s, "/metrics")
		})
	}
	all.Wait()
	if got, want := m.RefusedEvents("clicks"), uint64(800); got != want {
		t.Errorf("got %d, want %d", got, want)
	}
}

func TestMetrics_ShowTheAgentsState(t *testing.T) {
	status := sample()
	status.Streams[0].Destinations[0].State = admin.Blocked
	s := admin.New(admin.Options{Source: &source{status: status, ready: errors.New("the disk is full")}, Kinds: []string{"behind", "disk_full"}})
	wantText(t, get(t, s, "/metrics"),
		`standpipe_accepting 0`, `standpipe_ready 0`, `standpipe_wal_failed 0`, `standpipe_disk_free_bytes 2.147483648e+10`,
		`standpipe_config_last_reload_success 0`, `standpipe_config_last_reload_timestamp_seconds 1.795176005e+09`,
		`standpipe_certificate_expiry_timestamp_seconds{file="tls/cert.pem"} 1.797768e+09`,
		`standpipe_destination_state{destination="archive",state="blocked",stream="clicks"} 1`,
		`standpipe_destination_state{destination="archive",state="running",stream="clicks"} 0`,
		`standpipe_problems{kind="disk_full"} 1`, `standpipe_problems{kind="behind"} 0`)

	status.Accepting, status.Reload, status.WAL.Failed = admin.Accepting{OK: true}, admin.ReloadStatus{}, "sync"
	wantText(t, get(t, serve(&source{status: status}, nil), "/metrics"),
		`standpipe_accepting 1`, `standpipe_ready 1`, `standpipe_wal_failed 1`, `standpipe_config_last_reload_success 1`,
		`standpipe_config_last_reload_timestamp_seconds 1.795176e+09`)
}

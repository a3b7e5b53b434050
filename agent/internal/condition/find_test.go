package condition_test

import (
	"bytes"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/agent/admin"
	"github.com/standpipe/standpipe/agent/internal/condition"
	"github.com/standpipe/standpipe/wal"
)

var now = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// calm returns the facts of an agent without a problem, with one destination.
func calm() *condition.Facts {
	return &condition.Facts{
		Now: now, DataDir: "/var/lib/standpipe", Volume: wal.Volume{Free: 20 << 30, Size: 64 << 30},
		Status: admin.Status{
			Accepting: admin.Accepting{OK: true},
			WAL:       admin.WALStatus{Bytes: 1 << 20, MaxBytes: 8 << 30},
			Reload:    admin.ReloadStatus{At: admin.Time{Time: now}, OK: true},
			Streams: []admin.StreamStatus{{Name: "clicks", Destinations: []admin.DestinationStatus{{
				Name: "live", State: admin.Running, Pending: admin.Pending{Events: 10, Bytes: 1000, OldestSeconds: 299},
			}}}},
		},
		UntilFull:    time.Hour,
		Certificates: []condition.Certificate{{File: "tls/cert.pem", Expires: now.Add(14 * 24 * time.Hour)}},
		Dropped:      func(string, string) time.Time { return now.Add(-time.Minute) },
	}
}

// cases has a change of the calm facts for each kind, and a text that the problem has then.
var cases = map[string]struct {
	change func(f *condition.Facts, d *admin.DestinationStatus)
	text   string
}{
	"failed": {func(f *condition.Facts, _ *admin.DestinationStatus) { f.Status.WAL.Failed = "sync: input/output error" }, "sync: input/output error"},
	"wal_full": {func(f *condition.Facts, _ *admin.DestinationStatus) {
		f.Shortage, f.Status.WAL.Bytes = wal.FullWAL, 7<<30
	}, "events are not accepted: the WAL is full, 7.0 GiB of max_size 8.0 GiB are in use and the rest is reserved for compaction"},
	"disk_full": {func(f *condition.Facts, _ *admin.DestinationStatus) {
		f.Shortage, f.DropsOldest, f.Volume.Free, f.Status.WAL.Bytes = wal.FullDisk, true, 100<<20, 8<<30
	}, "events are dropped to make room: the disk is full, 100 MiB of 64 GiB left"},
	"min_free": {func(f *condition.Facts, _ *admin.DestinationStatus) {
		f.LowSpace, f.MinFree, f.Volume.Free, f.Status.WAL.Bytes = true, 5<<30, 1<<30, 8<<30
	}, "events are not accepted: 1.0 GiB of 64 GiB left, less than min_free 5.0 GiB"},
	"blocked": {func(_ *condition.Facts, d *admin.DestinationStatus) {
		d.State, d.LastError = admin.Blocked, "AccessDeniedException: not allowed"
	}, "blocked with 10 events pending: AccessDeniedException: not allowed"},
	"dropping": {func(f *condition.Facts, d *admin.DestinationStatus) {
		f.Dropped = func(string, string) time.Time { return now.Add(-59 * time.Second) }
		d.Dropped.Events = 12345
	}, "events are dropped: 12,345 events so far"},
	"reload_failed": {func(f *condition.Facts, _ *admin.DestinationStatus) {
		f.Status.Reload.OK, f.Status.Reload.Error = false, "agent.hcl:3:1: unknown setting"
	}, "agent.hcl:3:1: unknown setting"},
	"damaged": {func(f *condition.Facts, _ *admin.DestinationStatus) {
		f.Status.WAL.SetAside = []string{"1.wal.corrupt"}
	}, "1.wal.corrupt"},
	"certificate_expired": {func(f *condition.Facts, _ *admin.DestinationStatus) { f.Certificates[0].Expires = now }, "tls/cert.pem has expired"},
	"certificate_expiring": {func(f *condition.Facts, _ *admin.DestinationStatus) {
		f.Certificates[0].Expires = now.Add(14*24*time.Hour - 1)
	}, "tls/cert.pem expires at 2026-12-04 11:59 UTC"},
	"full_soon": {func(f *condition.Facts, _ *admin.DestinationStatus) { f.UntilFull = time.Hour - 1 }, "the WAL is full in about 59m 59s"},
	"behind": {func(_ *condition.Facts, d *admin.DestinationStatus) {
		d.State, d.Pending.OldestSeconds, d.LastError = admin.Waiting, 300, "connection: refused"
	}, "10 events pending, the oldest for 5m 0s: connection: refused"},
	"parked": {func(_ *condition.Facts, d *admin.DestinationStatus) { d.State = admin.Parked }, "not in the configuration any more, and holds 10 events (1000 B), the oldest for"},
	"paused": {func(_ *condition.Facts, d *admin.DestinationStatus) {
		d.State, d.PausedAt = admin.Paused, admin.Time{Time: now.Add(-time.Hour)}
	}, "paused by an operator since 2026-11-20 11:00 UTC, with 10 events pending"},
	"clock_unset":        {func(f *condition.Facts, _ *admin.DestinationStatus) { f.ClockUnset = "its time is odd" }, "the clock is not set: its time is odd; times of events are corrected once it is set"},
	"link_down":          {func(f *condition.Facts, _ *admin.DestinationStatus) { f.LinkDown = now.Add(-time.Hour) }, "the link was set down at 2026-11-20 11:00 UTC"},
	"dead_letters":       {func(_ *condition.Facts, d *admin.DestinationStatus) { d.DeadLetters = 3 }, "the destination rejected 3 events for good"},
	"state_full":         {func(f *condition.Facts, _ *admin.DestinationStatus) { f.Status.WAL.StateFull = true }, "new streams and producers are rejected"},
	"max_size_over_disk": {func(f *condition.Facts, _ *admin.DestinationStatus) { f.Volume.Free = 4 << 30 }, "max_size is 8.0 GiB, and the volume of /var/lib/standpipe has 4.0 GiB for the WAL"},
	"volatile_data_dir":  {func(f *condition.Facts, _ *admin.DestinationStatus) { f.Volume.Kind = "tmpfs" }, "/var/lib/standpipe is on tmpfs"},
	"network_data_dir":   {func(f *condition.Facts, _ *admin.DestinationStatus) { f.Volume.Kind = "nfs" }, "/var/lib/standpipe is on nfs"},
}

// Each kind has a case, is found where the case holds and nowhere else, and stands in the table of operating.md with its
// remedy.
func TestFind_EachKind(t *testing.T) {
	page, err := os.ReadFile("../../../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	if got := condition.Find(calm()); len(got) > 0 {
		t.Errorf("calm facts: got %+v, want no problem", got)
	}
	for _, kind := range condition.Kinds() {
		test, there := cases[kind]
		if !there {
			t.Errorf("%s has no case", kind)
			continue
		}
		f := calm()
		test.change(f, &f.Status.Streams[0].Destinations[0])
		got := condition.Find(f)
		if len(got) != 1 || got[0].Kind != kind || !strings.Contains(got[0].Text, test.text) {
			t.Errorf("%s: got %+v, want one problem with the text %q", kind, got, test.text)
			continue
		}
		row := "| `" + kind + "` | " + string(got[0].Severity) + " |"
		if !bytes.Contains(page, []byte(row)) || !bytes.Contains(page, []byte(got[0].Remedy)) {
			t.Errorf("docs/operating.md has no row that begins with %q and has the remedy %q", row, got[0].Remedy)
		}
	}
}

// Each kind has an alert of its severity, and the alert has a test. deploy/prometheus/rules_test.yml is run by promtool.
func TestFind_EachKindHasAnAlert(t *testing.T) {
	rules, err := os.ReadFile("../../../deploy/prometheus/rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	tests, err := os.ReadFile("../../../deploy/prometheus/rules_test.yml")
	if err != nil {
		t.Fatal(err)
	}
	severities := make(map[string]admin.Severity)
	for rule := range strings.SplitSeq(string(rules), "- alert: ") {
		name, _, _ := strings.Cut(rule, "\n")
		if found := regexp.MustCompile(`severity: (\w+)\n +condition: (\w+)`).FindStringSubmatch(rule); found != nil {
			severities[found[2]] = admin.Severity(found[1])
			if !strings.Contains(string(tests), "alertname: "+name+"\n        exp_alerts:") {
				t.Errorf("the alert %s has no test", name)
			}
		}
	}
	for _, kind := range condition.Kinds() {
		f := calm()
		cases[kind].change(f, &f.Status.Streams[0].Destinations[0])
		if got, want := severities[kind], condition.Find(f)[0].Severity; got != want {
			t.Errorf("deploy/prometheus/rules.yml has the severity %q for the condition %s, want %q", got, kind, want)
		}
	}
}

func TestFind_WorstFirst(t *testing.T) {
	f := calm()
	for _, test := range cases {
		test.change(f, &f.Status.Streams[0].Destinations[0])
	}
	got := condition.Find(f)
	warned := slices.IndexFunc(got, func(p admin.Problem) bool { return p.Severity == admin.Warning })
	if warned < 1 || slices.ContainsFunc(got[warned:], func(p admin.Problem) bool { return p.Severity == admin.Critical }) {
		t.Errorf("got %+v, want all critical problems before the warnings", got)
	}
}

// A problem that goes on keeps its beginning, and writes one line when it begins and one when it ends, also if its text
// changes meanwhile, and if it is gone for a moment.
func TestTracker_TwoLinesForEachProblem(t *testing.T) {
	var out bytes.Buffer
	tracker := condition.NewTracker(hclog.New(&hclog.LoggerOptions{Output: &out, Level: hclog.Info}))
	at := func(seconds int, oldest float64, wantSince int) {
		t.Helper()
		f := calm()
		f.Status.Streams[0].Destinations[0].Pending.OldestSeconds = oldest
		got := tracker.Update(condition.Find(f), now.Add(time.Duration(seconds)*time.Second))
		since := now.Add(time.Duration(wantSince) * time.Second)
		if wantSince >= 0 && (len(got) != 1 || !got[0].Since.Equal(since)) {
			t.Errorf("after %d s: got %+v, want a problem since %s", seconds, got, since)
		}
		if wantSince < 0 && len(got) != 0 {
			t.Errorf("after %d s: got %+v, want no problem", seconds, got)
		}
	}
	at(0, 400, 0)
	at(2, 402, 0)
	at(4, 1, -1)
	at(13, 400, 0)
	at(90, 1, -1)
	at(100, 400, 100)
	at(102, 1, -1)
	at(104, 1, -1)
	at(112, 1, -1)
	at(114, 1, -1)
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	want := []string{
		`[WARN]  problem: kind=behind stream=clicks destination=live text="10 events pending, the oldest for 6m 40s"`,
		"[INFO]  problem is over: kind=behind stream=clicks destination=live after=1m30s",
		"[WARN]  problem: kind=behind stream=clicks destination=live",
		"[INFO]  problem is over: kind=behind stream=clicks destination=live after=2s",
	}
	if !slices.EqualFunc(lines, want, strings.Contains) {
		t.Errorf("got %q, want %q", lines, want)
	}
}

// Whether events are accepted decides about its problems at once, before the next look: those of the last look that are
// over are gone, and new ones have the time of the status.
func TestAgree_WithAcceptance(t *testing.T) {
	f := calm()
	f.Shortage, f.Status.Accepting = wal.FullWAL, admin.Accepting{Reason: "wal_full", Since: admin.Time{Time: now.Add(-time.Second)}}
	behind := admin.Problem{Kind: "behind", Since: admin.Time{Time: now.Add(-time.Hour)}}
	all, differ := condition.Agree([]admin.Problem{{Kind: "min_free"}, behind}, f)
	if len(all) != 2 || !differ || all[0].Kind != "wal_full" || !all[0].Since.Equal(now.Add(-time.Second)) || all[0].Remedy == "" || all[1] != behind {
		t.Errorf("got %+v, %v, want wal_full and behind", all, differ)
	}
	all[0].Since = admin.Time{Time: now.Add(-time.Minute)}
	again, differ := condition.Agree(all, f)
	if !slices.Equal(again, all) || differ {
		t.Errorf("got %+v, %v, want %+v", again, differ, all)
	}
	f.Shortage, f.Status.Accepting = wal.NoShortage, admin.Accepting{OK: true}
	if all, differ = condition.Agree(all, f); len(all) != 1 || all[0] != behind || !differ {
		t.Errorf("got %+v, %v, want behind alone", all, differ)
	}
}

// Problems whose lines another part writes have none of the tracker's.
func TestTracker_NoSecondLine(t *testing.T) {
	var out bytes.Buffer
	tracker := condition.NewTracker(hclog.New(&hclog.LoggerOptions{Output: &out, Level: hclog.Info}))
	f := calm()
	cases["blocked"].change(f, &f.Status.Streams[0].Destinations[0])
	tracker.Update(condition.Find(f), now)
	tracker.Update(nil, now)
	tracker.Update(nil, now.Add(time.Hour))
	if out.Len() > 0 {
		t.Errorf("got %q, want no line", out.String())
	}
}

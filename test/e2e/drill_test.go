//go:build linux

package e2e_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/standpipe/standpipe/test/certkit"
	"github.com/standpipe/standpipe/test/fakeaws"
	"github.com/standpipe/standpipe/test/testkit"
	"github.com/standpipe/standpipe/wal"
)

// A drill brings an agent into a condition, and out of it again.
type drill struct {
	kinds         []string // of the problems that it causes
	extra         string   // of the configuration, above the streams
	streams       string
	prepare       func(t *testing.T, a *agent) error // before the start
	begin, end    func(t *testing.T, a *agent)
	rejects       bool   // events are not accepted
	begins, ended string // the log lines, if other parts of the agent write them
}

// stuck is a destination whose folder cannot be made while the file ${dir}/blocker is there.
const stuck = `
  destination "file" "stuck" {
    path = "${dir}/blocker/${stream}"
    retry { max = "200ms" }
  }`

func block(_ *testing.T, a *agent) error { return os.WriteFile(a.path("blocker"), nil, 0o600) }
func unblock(t *testing.T, a *agent)     { testkit.Must(t, os.Remove(a.path("blocker"))) }

// reconfigure applies another head or other streams.
func (a *agent) reconfigure(t *testing.T, extra, streams string) {
	t.Helper()
	before, _, _ := strings.Cut(a.head, "admin {")
	a.head = before + fmt.Sprintf("admin { address = %q }\n", a.admin) + extra
	a.configure(streams)
	a.signal(syscall.SIGHUP)
}

// fill appends until an event is rejected.
func (a *agent) fillUp(t *testing.T, stream string) {
	t.Helper()
	client := a.dial()
	for i := range 10_000 {
		if _, err := client.Append(t.Context(), request(stream, large(i))); err != nil {
			return
		}
	}
	t.Fatal("the log takes all events")
}

// view has the places of a problem that show it.
type view struct {
	log                       int // lines
	status, page, api, metric bool
	ready                     int // the code of /readyz
	check                     int // the exit code of status --check

	statusLine, pageText, logged string // for the test's log
}

// view looks at all places.
func (a *agent) view(t *testing.T, kind, line string) (v view) {
	t.Helper()
	for l := range strings.SplitSeq(a.out.String(), "\n") {
		if strings.Contains(l, line) {
			v.log++
			v.logged = l
		}
	}
	_, out, _ := runProgram(t, "", "status", "--address", a.admin)
	top, _, _ := strings.Cut(out, "\nwal ")
	found := regexp.MustCompile(`(?m)^(critical|warning)  ?` + kind + `:[ \n].*(\n {9}.*)*`).FindString(top)
	v.status, v.statusLine = found != "", found
	page := a.get("/")
	found = regexp.MustCompile(`<strong class="\w+">` + kind + `</strong>[^\n]*\n?[^\n]*`).FindString(page)
	v.page, v.pageText = found != "", html.UnescapeString(found)
	var status struct{ Problems []struct{ Kind string } }
	testkit.Must(t, json.Unmarshal([]byte(a.get("/v1/status")), &status))
	for _, p := range status.Problems {
		v.api = v.api || p.Kind == kind
	}
	series := regexp.MustCompile(`(?m)^standpipe_problems\{kind="` + kind + `"\} (\d+)$`).FindStringSubmatch(a.get("/metrics"))
	v.metric = series != nil && series[1] != "0"
	r, err := http.Get("http://" + a.admin + "/readyz")
	testkit.Must(t, err)
	r.Body.Close()
	v.ready = r.StatusCode
	v.check, _, _ = runProgram(t, "", "status", "--check", "--address", a.admin)
	return v
}

// expect waits until a problem is, or is not, in all places at once.
func (d *drill) expect(t *testing.T, a *agent, kind string, there bool) {
	t.Helper()
	line, lines := d.begins, 1
	if line == "" {
		line = "problem: kind=" + kind + " "
	}
	if !there {
		if line = d.ended; line == "" {
			line = "problem is over: kind=" + kind + " "
		}
	}
	want := view{log: lines, status: there, page: there, api: there, metric: there, ready: http.StatusOK}
	if there && d.rejects {
		want.ready, want.check = http.StatusServiceUnavailable, 1
	}
	if there && kind == "blocked" {
		want.check = 1
	}
	testkit.Eventually(t, 3*time.Minute, func() error {
		got := a.view(t, kind, line)
		shown := got
		got.statusLine, got.pageText, got.logged = "", "", ""
		if got != want {
			return fmt.Errorf("%s: got %+v, want %+v", kind, got, want)
		}
		t.Logf("%s\nlog: %s\n%s\n%s", kind, shown.logged, shown.statusLine, shown.pageText)
		return nil
	})
}

// start starts the drill's agent. The error is a reason for which this machine cannot run the drill.
func (d *drill) start(t *testing.T) (*agent, error) {
	t.Helper()
	a := newAgent(t, d.extra, d.streams)
	if d.prepare != nil {
		if err := d.prepare(t, a); err != nil {
			return nil, err
		}
	}
	a.launch()
	testkit.Eventually(t, 20*time.Second, func() error { return a.expectCode("/livez", http.StatusOK) })
	if want := "starting: version="; !strings.Contains(a.out.String(), want) {
		t.Errorf("the agent log has no %q", want)
	}
	return a, nil
}

// inMemory mounts a file system in memory, with these options, as the data directory.
func inMemory(options string) func(t *testing.T, a *agent) error {
	return func(t *testing.T, a *agent) error {
		d, err := testkit.NewMemory(t, options)
		if err != nil {
			return err
		}
		return os.Symlink(d.Mount, a.path("data"))
	}
}

const smallWAL = "wal {\n  max_size = \"2MiB\"\n  segment_size = \"256KiB\"\n}\n"

var stuckStream = streamBlock("s", "\n  format = \"text\"", stuck)

var drills = map[string]*drill{
	"the log is full": {
		kinds: []string{"wal_full"}, extra: smallWAL, streams: stuckStream, prepare: block, rejects: true,
		begin: func(t *testing.T, a *agent) { a.fillUp(t, "s") }, end: unblock,
	},
	"the disk is full": {
		kinds: []string{"disk_full"}, streams: stuckStream, rejects: true,
		prepare: func(t *testing.T, a *agent) error { return errors.Join(block(t, a), inMemory("size=16m")(t, a)) },
		begin:   func(t *testing.T, a *agent) { a.fillUp(t, "s") }, end: unblock,
	},
	"min_free is not left": {
		kinds: []string{"min_free"}, extra: "wal { min_free = \"99%\" }\n", streams: streamBlock("s", fileDestination), rejects: true,
		prepare: func(t *testing.T, a *agent) error {
			return errors.Join(inMemory("size=64m")(t, a), os.WriteFile(a.path("data/other"), make([]byte, 1<<20), 0o600))
		},
		end: func(t *testing.T, a *agent) { a.reconfigure(t, "", streamBlock("s", fileDestination)) },
	},
	"a destination is blocked": {
		kinds: []string{"blocked"}, begins: "the destination does not take records: ", ended: "the destination takes records again: ", streams: stuckStream, prepare: block,
		begin: func(t *testing.T, a *agent) { send(t, a.dial(), "s", readings(1, 3)) }, end: unblock,
	},
	"a reload fails": {
		kinds: []string{"reload_failed"}, begins: "configuration was not reloaded", ended: "configuration reloaded", streams: streamBlock("s", fileDestination),
		begin: func(t *testing.T, a *agent) {
			a.reconfigure(t, "colour = \"red\"\n", streamBlock("s", fileDestination))
		},
		end: func(t *testing.T, a *agent) { a.reconfigure(t, "", streamBlock("s", fileDestination)) },
	},
	"a file is damaged": {
		kinds: []string{"damaged"}, streams: streamBlock("s", fileDestination),
		prepare: func(_ *testing.T, a *agent) error {
			return errors.Join(os.MkdirAll(a.path("data"), 0o700), os.WriteFile(a.path("data/dead.db"), []byte(strings.Repeat("damaged", 10_000)), 0o600))
		},
		end: func(t *testing.T, a *agent) {
			aside, err := filepath.Glob(a.path("data/*.corrupt*"))
			if err != nil || len(aside) == 0 {
				t.Fatal("no file was set aside", err)
			}
			for _, file := range aside {
				testkit.Must(t, os.Remove(file))
			}
		},
	},
	"a destination is parked": {
		kinds: []string{"parked"}, streams: streamBlock("s", stuck, fileDestination), prepare: block,
		begin: func(t *testing.T, a *agent) {
			send(t, a.dial(), "s", readings(1, 3))
			a.reconfigure(t, "", streamBlock("s", fileDestination))
		},
		end: func(t *testing.T, a *agent) { a.standpipe(t, "destination", "forget", "s", "stuck", "--yes") },
	},
	"a destination is paused": {
		kinds: []string{"paused"}, streams: streamBlock("s", fileDestination),
		begin: func(t *testing.T, a *agent) {
			send(t, a.dial(), "s", readings(1, 3))
			a.standpipe(t, "destination", "pause", "s", "local")
		},
		end: func(t *testing.T, a *agent) { a.standpipe(t, "destination", "resume", "s", "local") },
	},
	"the link is set down": {
		kinds: []string{"link_down"}, begins: "link set down; ", ended: "link set up: ", streams: streamBlock("s", fileDestination),
		begin: func(t *testing.T, a *agent) { a.standpipe(t, "link", "down") },
		end:   func(t *testing.T, a *agent) { a.standpipe(t, "link", "up") },
	},
	"the state is full": {
		kinds: []string{"state_full"}, extra: "wal { max_size = \"1MiB\" }\n", streams: "\nstream \"*\" {\n  max_streams = 100000" + fileDestination + "\n}\n",
		begin: func(t *testing.T, a *agent) {
			client := a.dial()
			for i := range 10_000 {
				if _, err := client.Append(t.Context(), request(fmt.Sprintf("stream-with-a-long-name-%d", i), event{"k", "{}"})); err != nil {
					return
				}
			}
			t.Fatal("the state takes all streams")
		},
		end: func(t *testing.T, a *agent) {
			a.reconfigure(t, "", "\nstream \"*\" {\n  max_streams = 100000"+fileDestination+"\n}\n")
		},
	},
	"max_size is larger than the disk": {
		kinds: []string{"max_size_over_disk"}, extra: "wal { max_size = \"1000TiB\" }\n", streams: streamBlock("s", fileDestination),
		end: func(t *testing.T, a *agent) {
			a.reconfigure(t, "wal { max_size = \"8MiB\" }\n", streamBlock("s", fileDestination))
		},
	},
	"the data directory is in memory": {
		kinds: []string{"volatile_data_dir"}, streams: streamBlock("s", fileDestination), prepare: inMemory("size=64m"),
	},
	"events are dropped, and the log fills": {
		kinds: []string{"dropping", "full_soon"}, extra: "wal {\n  max_size = \"64MiB\"\n  segment_size = \"1MiB\"\n}\n",
		streams: streamBlock("bounded", "\n  max_size = \"256KiB\"\n  on_full = \"drop_oldest\"", kinesisDestination("http://127.0.0.1:1")) + streamBlock("s", "\n  format = \"text\"", kinesisDestination("http://127.0.0.1:1")),
		begin: func(t *testing.T, a *agent) {
			client, i := a.dial(), 0
			testkit.Eventually(t, 5*time.Minute, func() error {
				for _, stream := range []string{"s", "bounded"} {
					if _, err := client.Append(t.Context(), request(stream, event{"k", strconv.Quote(filler(2000))})); err != nil {
						t.Fatal(err)
					}
				}
				i++
				if !strings.Contains(a.out.String(), "problem: kind=full_soon") {
					return fmt.Errorf("no problem after %d events", i)
				}
				return nil
			})
		},
		end: func(*testing.T, *agent) {},
	},
	"a destination is behind": {
		kinds: []string{"behind"}, streams: streamBlock("s", "\n  format = \"text\"", kinesisDestination("http://127.0.0.1:1")),
		prepare: func(t *testing.T, a *agent) error {
			hour := func() time.Time { return time.Now().Add(-time.Hour) }
			l, err := wal.Open(t.Context(), wal.Options{Dir: a.path("data"), Clock: hour})
			if err != nil {
				return err
			}
			_, err = l.OpenCursor("s", "live")
			_, appendErr := l.Append(t.Context(), &wal.Batch{Stream: "s", Events: []wal.Event{{Key: "k", Data: []byte("late")}}})
			return errors.Join(err, appendErr, l.Close())
		},
	},
}

// deadLetters is a destination that rejects an event for good.
func deadLetters(t *testing.T) *drill {
	fake := fakeaws.Start(t)
	fake.FailNext(fakeaws.Refuse(400, "InvalidArgumentException", "not today"))
	return &drill{
		kinds: []string{"dead_letters"}, streams: streamBlock("s", firehoseDestination(fake.URL())),
		begin: func(t *testing.T, a *agent) { send(t, a.dial(), "s", readings(1, 1)) },
		end:   func(t *testing.T, a *agent) { a.standpipe(t, "dead", "drop", "--all", "--yes") },
	}
}

// certificate is a listener's certificate that ends at a time.
func certificate(kind string, from, until time.Time) *drill {
	var authority *certkit.Authority
	var listener string
	issue := func(c certkit.Certificate) { authority.Issue("server", c) }
	return &drill{
		kinds: []string{kind}, streams: streamBlock("s", fileDestination),
		prepare: func(t *testing.T, a *agent) error {
			authority = certkit.New(t, a.path(""), "ca")
			c := certkit.Localhost("localhost")
			c.From, c.Until = from, until
			issue(c)
			listener = fmt.Sprintf("listener \"http\" {\n  address = %q\n  tls {\n    cert_file = %q\n    key_file  = %q\n  }\n}\n", testkit.FreeAddress(t), a.path("server.pem"), a.path("server.key"))
			a.head += listener
			a.configure(streamBlock("s", fileDestination))
			return nil
		},
		end: func(*testing.T, *agent) {
			c := certkit.Localhost("localhost")
			c.Until = time.Now().Add(365 * 24 * time.Hour)
			issue(c)
		},
	}
}

// Each problem is in the agent log when it begins and when it ends. Meanwhile it is at the top of the status and of the page,
// in the API and in the metrics. It makes the agent not ready if it rejects events. Each kind has a drill.
func TestProblems_InEveryPlace(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	all := map[string]*drill{
		"dead letters":               deadLetters(t),
		"a certificate expires soon": certificate("certificate_expiring", time.Time{}, time.Now().Add(24*time.Hour)),
		"a certificate has expired":  certificate("certificate_expired", time.Now().Add(-48*time.Hour), time.Now().Add(-24*time.Hour)),
	}
	maps.Copy(all, drills)
	agents := make(map[string]*agent)
	for name, d := range all {
		a, err := d.start(t)
		if err != nil {
			testkit.NotTested(t, name, err)
			continue
		}
		agents[name] = a
		if d.begin != nil {
			d.begin(t, a)
		}
		for _, kind := range d.kinds {
			d.expect(t, a, kind, true)
		}
		if d.end == nil { // only another start ends it
			delete(agents, name)
			a.kill()
			continue
		}
		d.end(t, a)
	}
	for name, a := range agents { // the ends take their time side by side
		for _, kind := range all[name].kinds {
			all[name].expect(t, a, kind, false)
		}
	}
	tested := make(map[string]bool)
	for _, d := range all {
		for _, kind := range d.kinds {
			tested[kind] = true
		}
	}
	for _, missing := range []string{"failed", "network_data_dir", "clock_unset"} { // the agent ends within five seconds; needs a server; the clock is the host's
		tested[missing] = true
	}
	for _, kind := range regexp.MustCompile(`(?m)^\| `+"`"+`(\w+)`+"`"+` \| (critical|warning) \|`).FindAllStringSubmatch(readFile(t, "../../docs/operating.md"), -1) {
		if !tested[kind[1]] {
			t.Errorf("%s has no drill", kind[1])
		}
	}
}

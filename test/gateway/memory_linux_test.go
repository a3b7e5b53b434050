package gateway_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/standpipe/standpipe/client"
	"github.com/standpipe/standpipe/test/fakeaws"
	"github.com/standpipe/standpipe/test/testkit"
)

// group is a memory cgroup, of version 2 or 1.
type group struct {
	dir        string
	stat, anon string // the file with the anonymous memory, and its field
	kills      string // the file with the field oom_kill
}

// newGroup makes a cgroup with a limit in bytes.
func newGroup(t *testing.T, limit int64) *group {
	t.Helper()
	for _, v := range []struct{ root, limit, anon, kills string }{
		{"/sys/fs/cgroup", "memory.max", "anon", "memory.events"},
		{"/sys/fs/cgroup/memory", "memory.limit_in_bytes", "total_rss", "memory.oom_control"},
	} {
		dir, err := os.MkdirTemp(v.root, "standpipe-")
		if err != nil {
			continue
		}
		t.Cleanup(func() { os.Remove(dir) })
		limits, err := os.OpenFile(filepath.Join(dir, v.limit), os.O_WRONLY, 0) // where there is no such cgroup, there is no such file
		if err != nil {
			continue
		}
		_, err = limits.WriteString(strconv.FormatInt(limit, 10))
		testkit.Must(t, errors.Join(err, limits.Close()))
		return &group{dir, filepath.Join(dir, "memory.stat"), v.anon, filepath.Join(dir, v.kills)}
	}
	testkit.NotTested(t, "little memory", errors.New("no memory cgroup that may be written (root)"))
	t.SkipNow()
	return nil
}

// under is the command that runs another one in the group.
func (g *group) under() []string {
	return []string{"sh", "-c", `echo $$ >"$0" && exec "$@"`, filepath.Join(g.dir, "cgroup.procs")}
}

// field returns a value of a file whose lines are names and values. Without the field it is 0.
func field(path, name string) (n int64) {
	text, _ := os.ReadFile(path)
	for line := range strings.Lines(string(text)) {
		fmt.Sscanf(line, name+" %d", &n)
	}
	return n
}

// watch samples the anonymous memory until the returned function is called, which returns the most.
func (g *group) watch() (most func() int64) {
	var top int64
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for tick := time.NewTicker(20 * time.Millisecond); ; {
			select {
			case <-stop:
				tick.Stop()
				return
			case <-tick.C:
				top = max(top, field(g.stat, g.anon))
			}
		}
	}()
	return func() int64 {
		close(stop)
		<-done
		return top
	}
}

// A backlog that is larger than the memory is filled, kept through a crash, and drained.
func TestSmallMemory_DrainsABacklog(t *testing.T) {
	t.Parallel()
	got := inGroup(t, 64<<20, "", 400_000)
	t.Log(got)
	if !strings.Contains(got, "all delivered") {
		t.Error("not all events are delivered")
	}
}

// TestMeasureMemory measures an agent in a small cgroup with a backlog of 300 MB, and prints a table.
func TestMeasureMemory(t *testing.T) {
	long(t)
	var table sheet
	for _, row := range []struct {
		name  string
		limit int64
		env   string
	}{
		{"64 MiB", 64 << 20, ""},
		{"48 MiB", 48 << 20, ""},
		{"32 MiB", 32 << 20, ""},
		{"32 MiB, GOMEMLIMIT=19MiB", 32 << 20, "GOMEMLIMIT=19MiB"},
	} {
		t.Run(row.name, func(t *testing.T) { table.add(row.name, inGroup(t, row.limit, row.env, 1_500_000)) })
	}
	t.Log("\n" + table.String())
}

// inGroup fills the log of an agent in a cgroup while its destination is away, kills it, starts it again, drains it, and reloads it
// meanwhile. It describes each part, up to an end of the agent for another reason.
func inGroup(t *testing.T, limit int64, env string, events int) string {
	aws := fakeaws.Start(t)
	aws.AnyOrder()
	var back atomic.Bool
	endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !back.Load() {
			panic(http.ErrAbortHandler)
		}
		aws.ServeHTTP(w, r)
	}))
	t.Cleanup(endpoint.Close)
	g := newGroup(t, limit)
	a := newAgent(t, "", strings.ReplaceAll(firehose, "${endpoint}", endpoint.URL))
	a.under = append(g.under(), "env", "GOGC=") // an empty GOGC is none
	if env != "" {
		a.under = append(a.under, env)
	}
	var report []string
	// phase runs a part, and reports whether the agent lives.
	phase := func(name string, run func() string) bool {
		most := g.watch()
		began := time.Now()
		text := run()
		report = append(report, fmt.Sprintf("%s: anon %d MB, %.1f s%s", name, most()/1e6, time.Since(began).Seconds(), text))
		if !a.ended() {
			return true
		}
		log, _ := os.ReadFile(a.path("agent.log"))
		report = append(report, fmt.Sprintf("the agent has ended, %d killed for memory, last line %q", field(g.kills, "oom_kill"), lastLine(string(log))))
		return false
	}
	start := func() string { a.start(); return "" }
	alive := phase("start", start) &&
		phase("filling", func() string { return a.fill(events) })
	if !alive {
		return strings.Join(report, "; ")
	}
	a.kill()
	_ = phase("start", start) &&
		phase("offline", func() string { time.Sleep(5 * time.Second); return "" }) &&
		phase("drain", func() string {
			back.Store(true)
			time.AfterFunc(time.Second, func() { syscall.Kill(-a.cmd.Process.Pid, syscall.SIGHUP) })
			return a.drain(events)
		})
	return strings.Join(report, "; ")
}

func lastLine(text string) string {
	text = strings.TrimRight(text, "\n")
	return text[strings.LastIndexByte(text, '\n')+1:]
}

// fill appends events by 8 callers, 100 a request, until all are in or the agent ends.
func (a *agent) fill(events int) string {
	var left atomic.Int64
	left.Store(int64(events))
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for left.Add(-100) >= 0 && !a.ended() {
				if err := a.append(client.Batch{Stream: "readings"}, 100); err != nil && !a.ended() {
					a.t.Error(err)
				}
			}
		})
	}
	all.Wait()
	return ""
}

// drain waits until the events are delivered or the agent ends.
func (a *agent) drain(events int) string {
	var d destination
	testkit.Eventually(a.t, 5*time.Minute, func() (err error) {
		if a.ended() {
			return nil
		}
		if d, err = a.status(); err == nil && d.Pending > 0 {
			err = errors.New("events are pending")
		}
		return err
	})
	if d.Pending == 0 && !a.ended() {
		return ", all delivered"
	}
	return fmt.Sprintf(", %d of %d delivered", d.Delivered, events)
}

//go:build unix

package e2e_test

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/standpipe/standpipe/test/testkit"
)

// statsdServer is Etsy's statsd. Its counters are not reset while a test runs.
type statsdServer struct {
	*process
	udp, management string
}

func startStatsd(t *testing.T) *statsdServer {
	t.Helper()
	program := standin(t, "node_modules", "statsd", "stats.js")
	if _, err := os.Stat(program); err != nil {
		testkit.Missing(t, "statsd", err)
	}
	s := &statsdServer{udp: testkit.FreeAddress(t), management: testkit.FreeAddress(t)}
	port := func(address string) string {
		_, port, _ := net.SplitHostPort(address)
		return port
	}
	config := filepath.Join(t.TempDir(), "config.js")
	text := fmt.Sprintf(`{port: %s, address: "127.0.0.1", mgmt_port: %s, mgmt_address: "127.0.0.1", backends: [], flushInterval: 1e9}`,
		port(s.udp), port(s.management))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s.process = startProcess(t, exec.Command("node", program, config))
	s.waitListening(s.management)
	return s
}

// query returns the response of the management interface.
func (s *statsdServer) query(command string) string {
	s.t.Helper()
	c, err := net.Dial("tcp", s.management)
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Minute))
	fmt.Fprintln(c, command)
	var text strings.Builder
	for lines := bufio.NewScanner(c); lines.Scan() && lines.Text() != "END"; {
		text.WriteString(lines.Text() + "\n")
	}
	return text.String()
}

var counterLine = regexp.MustCompile(`'?(ev\.[^':]+)'?: ([0-9.]+)`)

// totals returns the counters, and fails the test if a line was malformed.
func (s *statsdServer) totals() map[string]int {
	s.t.Helper()
	if stats := s.query("stats"); !strings.Contains(stats, "messages.bad_lines_seen: 0\n") {
		s.t.Errorf("statsd got bad lines:\n%s", stats)
	}
	all := make(map[string]int)
	for _, found := range counterLine.FindAllStringSubmatch(s.query("counters"), -1) {
		n, err := strconv.Atoi(found[2])
		if err != nil {
			s.t.Fatal(err)
		}
		all[found[1]] += n
	}
	return all
}

// exporter is Prometheus's statsd_exporter.
type exporter struct {
	*process
	web, udp, unix string
}

func startExporter(t *testing.T) *exporter {
	t.Helper()
	program := standin(t, "bin", "statsd_exporter")
	if _, err := os.Stat(program); err != nil {
		testkit.Missing(t, "statsd_exporter", err)
	}
	x := &exporter{web: testkit.FreeAddress(t), udp: testkit.FreeAddress(t), unix: filepath.Join(t.TempDir(), "statsd")}
	x.process = startProcess(t, exec.Command(program, "--web.listen-address="+x.web, "--statsd.listen-udp="+x.udp, "--statsd.listen-tcp=",
		"--statsd.listen-unixgram="+x.unix, "--statsd.read-buffer=4194304"))
	x.waitListening(x.web)
	return x
}

var exported = regexp.MustCompile(`^(ev(?:ents)?_[a-zA-Z0-9_]+)(\{[^}]*\})? ([0-9.e+]+)$`)

// totals returns the series whose names begin with ev_ or events_, and fails the test if a line was malformed.
func (x *exporter) totals() map[string]int {
	x.t.Helper()
	r, err := http.Get("http://" + x.web + "/metrics")
	if err != nil {
		x.t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		x.t.Fatal(err)
	}
	all := make(map[string]int)
	for line := range strings.SplitSeq(string(body), "\n") {
		if strings.HasPrefix(line, "statsd_exporter_") && strings.Contains(line, "error") && !strings.HasSuffix(line, " 0") {
			x.t.Errorf("statsd_exporter: %s", line)
		}
		if found := exported.FindStringSubmatch(line); found != nil {
			v, err := strconv.ParseFloat(found[3], 64)
			if err != nil {
				x.t.Fatal(err)
			}
			all[found[1]+found[2]] += int(v)
		}
	}
	return all
}

func sum(series map[string]int) (n int) {
	for _, v := range series {
		n += v
	}
	return n
}

// statsdTo is a statsd destination.
func statsdTo(name, address, flavor string) string {
	return fmt.Sprintf(`
  destination "statsd" %q {
    address    = %q
    metric     = "ev.${name}"
    name_field = "name"
    tags       = ["market", "user.plan"]
    flavor     = %q
    interval   = "300ms"
    max_series = 200
  }`, name, address, flavor)
}

// The servers count exactly the appended events, also those with odd content, and never more series than allowed.
func TestStatsd_CountsEqualTheEvents(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	plain, dog, influx, unix := startStatsd(t), startExporter(t), startExporter(t), startExporter(t)
	a := startAgent(t, "", "stream \"clicks\" {\n format = \"text\"\n"+
		statsdTo("plain", "udp://"+plain.udp, "statsd")+statsdTo("dog", "udp://"+dog.udp, "dogstatsd")+
		statsdTo("influx", "udp://"+influx.udp, "influx")+statsdTo("unix", "unixgram://"+unix.unix, "dogstatsd")+"\n}\n")
	const events = 6000
	want, all := map[string]int{}, []event(nil)
	for i := range events {
		data := fmt.Sprintf(`{"name":"click","market":"m%d","user":{"plan":"p"}}`, i%7)
		switch i % 10 {
		case 0:
			data = "no JSON |#:@\t"
		case 1:
			data = fmt.Sprintf(`{"name":"odd|name:%d\\n","market":"a,b=c d"}`, i%3)
		case 2:
			data = fmt.Sprintf(`{"name":"many","market":"unique-%d"}`, i) // more than max_series
		case 3:
			data = `{"market":"without a name"}`
		}
		if i%10 >= 4 {
			want["ev_click"]++
		}
		all = append(all, event{fmt.Sprint("k", i%9), data})
	}
	send(t, a.dial(), "clicks", all)
	a.waitDelivered("clicks", events, 30*time.Second)
	a.stop()
	for name, totals := range map[string]func() map[string]int{"dog": dog.totals, "influx": influx.totals, "unix": unix.totals, "plain": plain.totals} {
		var got map[string]int
		testkit.Eventually(t, 10*time.Second, func() error {
			got = totals()
			if n := sum(got); n != events {
				return fmt.Errorf("%s: got %d events, want %d", name, n, events)
			}
			return nil
		})
		clicks := 0
		for series, n := range got {
			if strings.HasPrefix(series, "ev_click") || strings.HasPrefix(series, "ev.click") {
				clicks += n
			}
		}
		if clicks != want["ev_click"] || len(got) > 200 || len(got) < 190 {
			t.Errorf("%s: got %d clicks in %d series, want %d, in about 200", name, clicks, len(got), want["ev_click"])
		}
	}
}

// Sampled timers and distributions keep their counts at the server, and a gauge has the last value.
func TestStatsd_ValuesArriveAndCount(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	server := startExporter(t)
	block := func(name, kind, more string) string {
		return fmt.Sprintf("\n  destination \"statsd\" %q {\n    address = \"unixgram://%s\"\n    metric = \"ev.%s\"\n    type = %q\n    value_field = \"took.ms\"\n    interval = \"200ms\"\n    %s\n  }",
			name, server.unix, name, kind, more)
	}
	a := startAgent(t, "", "stream \"clicks\" {"+block("all", "timer", "")+block("sampled", "timer", "sample_rate = 0.1")+
		block("spread", "distribution", "sample_rate = 0.25")+block("level", "gauge", "")+block("sum", "counter", "")+"\n}\n")
	const events = 4001 // no multiple of the sampled ones
	var all []event
	total := 0
	for i := range events {
		total += i % 7
		all = append(all, event{fmt.Sprint("k", i%9), fmt.Sprintf(`{"took":{"ms":%d}}`, i%7)})
	}
	send(t, a.dial(), "clicks", all)
	a.waitDelivered("clicks", events, 30*time.Second)
	a.stop()
	want := map[string]int{"ev_all_count": events, "ev_sampled_count": events, "ev_spread_count": events, "ev_level": (events - 1) % 7, "ev_sum": total}
	testkit.Eventually(t, 10*time.Second, func() error {
		got := server.totals()
		for name, n := range want {
			if got[name] != n {
				return fmt.Errorf("%s: got %d, want %d", name, got[name], n)
			}
		}
		return nil
	})
}

// A kill repeats one interval at most, and loses nothing.
func TestStatsd_KillsRepeatAnInterval(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	server := startExporter(t)
	a := newAgent(t, "", "stream \"clicks\" {"+statsdTo("counts", "unixgram://"+server.unix, "dogstatsd")+"\n}\n")
	kills, appended, repeatable := number(t, "STANDPIPE_E2E_KILLS", 10), 0, 0
	for range kills {
		a.start()
		life := int(a.stream("clicks").Destinations[0].Pending.Events)
		repeatable += life
		life = 0
		for range 1 + rand.IntN(4) {
			n := 100 + rand.IntN(300)
			var events []event
			for i := range n {
				events = append(events, event{fmt.Sprint("k", i%9), fmt.Sprintf(`{"name":"click","market":"m%d"}`, i%5)})
			}
			send(t, a.dial(), "clicks", events)
			life += n
			time.Sleep(time.Duration(rand.IntN(300)) * time.Millisecond)
		}
		a.kill()
		appended += life
		repeatable += life
	}
	a.start()
	a.waitDelivered("clicks", appended, 30*time.Second)
	a.stop()
	var got int
	testkit.Eventually(t, 10*time.Second, func() error {
		if got = sum(server.totals()); got < appended {
			return fmt.Errorf("got %d events, want at least %d", got, appended)
		}
		return nil
	})
	if got > appended+repeatable {
		t.Errorf("got %d events of %d, want at most the last interval before each kill twice", got, appended)
	}
}

// A server that is not there is an outage: the counts wait for it.
func TestStatsd_WaitsForTheServer(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	address := filepath.Join(t.TempDir(), "later")
	a := startAgent(t, "", "stream \"clicks\" {"+strings.Replace(statsdTo("counts", "unixgram://"+address, "dogstatsd"), "max_series", "retry { max = \"500ms\" }\n    max_series", 1)+"\n}\n")
	send(t, a.dial(), "clicks", []event{{"k", `{"name":"click"}`}})
	a.waitState("clicks", "waiting", "later")
	conn, err := net.ListenPacket("unixgram", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	a.waitDelivered("clicks", 1, 20*time.Second)
	b := make([]byte, 1024)
	conn.SetReadDeadline(time.Now().Add(time.Minute))
	n, _, err := conn.ReadFrom(b)
	if err != nil || string(b[:n]) != "ev.click:1|c" {
		t.Errorf("got %q, %v", b[:n], err)
	}
	a.stop()
}

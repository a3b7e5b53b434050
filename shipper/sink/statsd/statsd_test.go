package statsd_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/standpipe/standpipe/shipper/ranged"
	"github.com/standpipe/standpipe/shipper/sink/statsd"
	"github.com/standpipe/standpipe/test/testkit"
	"github.com/standpipe/standpipe/wal"
)

// server collects the lines of a socket.
type server struct {
	t    *testing.T
	conn net.PacketConn
}

func newServer(t *testing.T, network string) *server {
	address := "127.0.0.1:0"
	if network == "unixgram" {
		address = filepath.Join(t.TempDir(), "s")
	}
	conn, err := net.ListenPacket(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &server{t, conn}
}

// lines returns the lines of the next n datagrams, sorted.
func (s *server) lines(n int) (all []string) {
	s.t.Helper()
	b := make([]byte, 64<<10)
	s.conn.SetReadDeadline(time.Now().Add(time.Minute))
	for range n {
		size, _, err := s.conn.ReadFrom(b)
		if err != nil {
			s.t.Fatal(err)
		}
		all = append(all, strings.Split(string(b[:size]), "\n")...)
	}
	slices.Sort(all)
	return all
}

func open(t *testing.T, s *server, o statsd.Options) *statsd.Sink {
	t.Helper()
	o.Network, o.Address = s.conn.LocalAddr().Network(), s.conn.LocalAddr().String()
	sink, err := statsd.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sink.Close() })
	return sink
}

func add(t *testing.T, sink ranged.Sink, data ...string) {
	t.Helper()
	var events []wal.Event
	for i, d := range data {
		events = append(events, wal.Event{Offset: uint64(i + 1), Data: []byte(d)})
	}
	if n, err := sink.Add(t.Context(), events); n != len(events) || err != nil {
		t.Fatalf("got %d, %v of %d events", n, err, len(events))
	}
}

// flush seals and commits the range.
func flush(t *testing.T, sink ranged.Sink) ranged.Outcome {
	t.Helper()
	sink.Seal()
	o, err := sink.Commit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestSink_CountsByNameAndTags(t *testing.T) {
	events := []string{
		`{"name":"click","market":"de","platform":"ios"}`, `{"name":"click","market":"de","platform":"ios","x":{"market":"no"}}`,
		`{"market":"de at","name":"view|x:1"}`, `no JSON`, `["name"]`, `{"market":"fr"}`, ` {"name":7,"platform":true,"market":null} `,
	}
	for flavor, want := range map[statsd.Flavor][]string{
		statsd.FlavorDogStatsD: {
			"ev.7:1|c|#platform:true", "ev.click:2|c|#market:de,platform:ios", "ev.other:1|c|#market:fr", "ev.other:2|c", "ev.view_x_1:1|c|#market:de_at",
		},
		statsd.FlavorStatsD: {
			"ev.7.platform.true:1|c", "ev.click.market.de.platform.ios:2|c", "ev.other.market.fr:1|c", "ev.other:2|c", "ev.view_x_1.market.de_at:1|c",
		},
		statsd.FlavorInflux: {
			"ev.7,platform=true:1|c", "ev.click,market=de,platform=ios:2|c", "ev.other,market=fr:1|c", "ev.other:2|c", "ev.view_x_1,market=de_at:1|c",
		},
	} {
		s := newServer(t, "udp")
		sink := open(t, s, statsd.Options{Metric: "ev.${name}", NameField: "name", Tags: []string{"market", "platform"}, Flavor: flavor})
		for range 2 { // the second range begins at zero
			add(t, sink, events...)
			if o := flush(t, sink); o.Requests != 1 || o.Records != 5 {
				t.Errorf("got %+v, want 5 lines in one datagram", o)
			}
			if got := s.lines(1); !slices.Equal(got, want) {
				t.Errorf("%s: got %q, want %q", flavor, got, want)
			}
		}
	}
}

// A zero byte in a value does not make two series one.
func TestSink_DistinguishesTagsWithZeroBytes(t *testing.T) {
	s := newServer(t, "udp")
	sink := open(t, s, statsd.Options{Metric: "ev.${name}", NameField: "name", Tags: []string{"a", "b"}})
	add(t, sink, `{"name":"n","a":"x\u0000y","b":"z"}`, `{"name":"n","a":"x","b":"y\u0000z"}`, `{"name":"n\u0000x","a":"y","b":"z"}`)
	flush(t, sink)
	want := []string{"ev.n:1|c|#a:x,b:y_z", "ev.n:1|c|#a:x_y,b:z", "ev.n_x:1|c|#a:y,b:z"}
	if got := s.lines(1); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSink_SendsValues(t *testing.T) {
	events := []string{`{"a":{"v":5}}`, `{"a":{"v":"-2.5"}}`, `{"a":{"v":"x"}}`, `{"a":3}`}
	for kind, want := range map[statsd.Kind][]string{
		statsd.Counter:      {"m.invalid:2|c", "m:2.5|c"},
		statsd.Gauge:        {"m.invalid:2|c", "m:-2.5|g"},
		statsd.Timer:        {"m.invalid:2|c", "m:-2.5|ms", "m:5|ms"},
		statsd.Distribution: {"m.invalid:2|c", "m:-2.5|d", "m:5|d"},
	} {
		s := newServer(t, "udp")
		sink := open(t, s, statsd.Options{Metric: "m", ValueField: "a.v", Kind: kind})
		add(t, sink, events...)
		flush(t, sink)
		if got := s.lines(1); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", kind, got, want)
		}
	}
	s := newServer(t, "udp")
	sink := open(t, s, statsd.Options{Metric: "m", ValueField: "a.v", Kind: statsd.Gauge, Flavor: statsd.FlavorStatsD})
	add(t, sink, events[:2]...)
	flush(t, sink)
	if got := s.lines(1); !slices.Equal(got, []string{"m:-2.5|g", "m:0|g"}) {
		t.Errorf("got %q for a negative gauge, want it set and not lowered", got)
	}
}

// The server's count of a sampled timer is the number of events.
func TestSink_SamplingKeepsCounts(t *testing.T) {
	for _, sampleRate := range []float64{1, 0.5, 0.3333, 0.142857, 0.1, 0.01} {
		s := newServer(t, "unixgram")
		sink := open(t, s, statsd.Options{Metric: "m.${name}", NameField: "n", ValueField: "v", Kind: statsd.Timer, SampleRate: sampleRate})
		counts, events := make(map[string]int), []string(nil)
		for range 5000 {
			name := fmt.Sprint("k", rand.IntN(7))
			counts["m."+name]++
			events = append(events, fmt.Sprintf(`{"n":%q,"v":%d}`, name, rand.IntN(100)))
		}
		add(t, sink, events...)
		sink.Seal()
		done := make(chan ranged.Outcome, 1)
		go func() {
			o, _ := sink.Commit(t.Context())
			done <- o
		}()
		got, floats, lines := make(map[string]int), make(map[string]float64), 0
		for total := 0; total < len(events); {
			for _, line := range s.lines(1) {
				name, rest, _ := strings.Cut(line, ":")
				weight := 1.0
				if _, r, sampled := strings.Cut(rest, "|@"); sampled {
					v, err := strconv.ParseFloat(r, 64)
					if err != nil {
						t.Fatal(err)
					}
					weight = 1 / v
				}
				got[name] += int(weight)
				floats[name] += weight
				total += int(weight)
				lines++
			}
		}
		o := <-done
		if o.Records != lines || float64(lines) > float64(len(events))*sampleRate+14 {
			t.Errorf("rate %v: got %d lines, reported %d", sampleRate, lines, o.Records)
		}
		for name, n := range counts {
			if got[name] != n || math.Abs(floats[name]-float64(n)) > 0.01 {
				t.Errorf("rate %v: got %d (%v) of %s, want %d", sampleRate, got[name], floats[name], name, n)
			}
		}
	}
}

func TestSink_LimitsSeries(t *testing.T) {
	s := newServer(t, "unixgram")
	sink := open(t, s, statsd.Options{Metric: "ev.${name}", NameField: "name", Tags: []string{"user"}, MaxSeries: 100})
	ever, total := make(map[string]bool), 0
	for round := range 5 {
		var events []string
		for i := range 5000 {
			events = append(events, fmt.Sprintf(`{"name":"click","user":"u%d"}`, (i*7+round*1313)%50_000))
		}
		add(t, sink, events...)
		sink.Seal()
		done := make(chan struct{})
		go func() {
			defer close(done)
			if _, err := sink.Commit(t.Context()); err != nil {
				t.Error(err)
			}
		}()
		for sum := 0; sum < 5000; {
			for _, line := range s.lines(1) {
				name, rest, _ := strings.Cut(line, ":")
				value, tags, _ := strings.Cut(rest, "|c")
				n, err := strconv.Atoi(value)
				if err != nil {
					t.Fatalf("line %q: %v", line, err)
				}
				ever[name+tags] = true
				sum, total = sum+n, total+n
			}
		}
		<-done
	}
	if len(ever) > 100 || !ever["ev.other|#user:other"] || total != 25_000 {
		t.Errorf("got %d series, other: %v, and %d events", len(ever), ever["ev.other|#user:other"], total)
	}
}

// A range of a million events with 50,000 tags costs memory for the series alone.
func TestSink_IsBounded(t *testing.T) {
	s := newServer(t, "udp")
	sink := open(t, s, statsd.Options{Metric: "ev.${name}", NameField: "name", Tags: []string{"user"}})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	events := make([]wal.Event, 100)
	for i := range 2000 {
		for j := range events {
			events[j].Data = fmt.Appendf(nil, `{"name":"click","user":"user-%d"}`, (i*100+j)%50_000)
		}
		if n, err := sink.Add(t.Context(), events); n != len(events) || err != nil {
			t.Fatal(n, err)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 4<<20 {
		t.Errorf("got %d bytes more, want under 4 MiB", grown)
	}
}

// A series keeps no more of long names and tags than its lines show.
func TestSink_IsBoundedForLongTags(t *testing.T) {
	s := newServer(t, "udp")
	sink := open(t, s, statsd.Options{Metric: "ev.${name}", NameField: "name", Tags: []string{"user"}})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	long := strings.Repeat("x", 32<<10)
	for i := range 500 {
		add(t, sink, fmt.Sprintf(`{"name":"%d-%s","user":"%d-%s"}`, i, long, i, long))
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 4<<20 {
		t.Errorf("got %d bytes more, want under 4 MiB", grown)
	}
	runtime.KeepAlive(sink)
}

func TestSink_KeepsDatagramsSmall(t *testing.T) {
	for network, limit := range map[string]int{"udp": 1432, "unixgram": 8 << 10} {
		s := newServer(t, network)
		sink := open(t, s, statsd.Options{Metric: "ev.${name}", NameField: "name", Tags: []string{"a", "b"}, MaxSeries: 500})
		var events []string
		for i := range 300 {
			events = append(events, fmt.Sprintf(`{"name":"n%d%s","a":%q,"b":"\u0000\n#,|:@"}`, i, strings.Repeat("x", i), strings.Repeat("\u00e4", i+1)))
		}
		add(t, sink, events...)
		sink.Seal()
		done := make(chan ranged.Outcome, 1)
		go func() {
			o, _ := sink.Commit(t.Context())
			done <- o
		}()
		b, sum := make([]byte, 64<<10), 0
		for sum < len(events) {
			s.conn.SetReadDeadline(time.Now().Add(time.Minute))
			n, _, err := s.conn.ReadFrom(b)
			if err != nil {
				t.Fatal(err)
			}
			if n > limit {
				t.Errorf("%s: got a datagram of %d bytes", network, n)
			}
			for line := range strings.SplitSeq(string(b[:n]), "\n") {
				_, rest, _ := strings.Cut(line, ":")
				value, _, ok := strings.Cut(rest, "|c|#a:")
				v, err := strconv.Atoi(value)
				if err != nil || !ok {
					t.Fatalf("got line %q", line)
				}
				sum += v
			}
		}
		if o := <-done; o.Records < 200 || sum != len(events) {
			t.Errorf("%s: got %d events, %+v", network, sum, o)
		}
	}
}

// A server that comes back gets all datagrams of the range, also the one that was refused.
func TestSink_ContinuesAfterAnError(t *testing.T) {
	s := newServer(t, "udp")
	sink := open(t, s, statsd.Options{Metric: "ev.${name}", NameField: "name"})
	var events []string
	for i := range 900 {
		events = append(events, fmt.Sprintf(`{"name":"some-long-name-%d"}`, i))
	}
	add(t, sink, events...)
	sink.Seal()
	address := s.conn.LocalAddr().String()
	s.conn.Close()
	failed := false
	for range 10 {
		if _, err := sink.Commit(t.Context()); err != nil {
			failed = true
			break
		}
	}
	if !failed {
		testkit.NotTested(t, "datagrams that a closed port rejects", errors.New("this host does not report them"))
		return
	}
	conn, err := net.ListenPacket("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	s = &server{t, conn}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			if _, err := sink.Commit(context.Background()); err == nil {
				return
			}
		}
	}()
	sum := 0
	for sum < len(events) {
		sum += len(s.lines(1))
	}
	<-done
	if sum != len(events) {
		t.Errorf("got %d lines, want %d", sum, len(events))
	}
}

func FuzzFields(f *testing.F) {
	f.Add([]byte(`{"name":"x","v":1,"t":"u"}`), "x")
	f.Add([]byte(`{"a":[{"name":"\"}"}],"name":"\u0041","t":{}}`), "y")
	f.Add([]byte(` {"name" : true , "t":-1e5} `), "z")
	f.Fuzz(func(t *testing.T, data []byte, _ string) {
		conn, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s := &server{t, conn}
		defer conn.Close()
		sink := open(t, s, statsd.Options{Metric: "m.${name}", NameField: "name", Tags: []string{"t"}})
		add(t, sink, string(data))
		flush(t, sink)
		got := s.lines(1)
		var parsed map[string]any
		name, known := "other", false
		if json.Unmarshal(data, &parsed) == nil && parsed != nil {
			if n, is := parsed["name"].(string); is && n != "" {
				name, known = n, true
			}
		}
		if len(got) != 1 || !strings.HasPrefix(got[0], "m.") || strings.Count(got[0], ":1|c") != 1 {
			t.Fatalf("got %q of %q", got, data)
		}
		simple := strings.IndexFunc(name, func(r rune) bool { return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') }) < 0
		if known && simple && len(name) < 200 && !strings.HasPrefix(got[0], "m."+name+":1|c") {
			t.Errorf("got %q of %q, want the name %q", got, data, name)
		}
	})
}

func BenchmarkAdd(b *testing.B) {
	sink, err := statsd.New(statsd.Options{Network: "udp", Address: "127.0.0.1:1", Metric: "ev.${name}", NameField: "name", Tags: []string{"market", "user"}})
	if err != nil {
		b.Fatal(err)
	}
	events := make([]wal.Event, 1000)
	for i := range events {
		events[i].Data = fmt.Appendf(nil, `{"name":"click","market":"de","user":"user-%d","page":"/a/b/c","at":"2026-11-21T10:00:00Z","value":12.5}`, i*50)
	}
	b.ReportAllocs()
	for b.Loop() {
		sink.Add(context.Background(), events)
	}
	b.ReportMetric(float64(b.N)*1000/b.Elapsed().Seconds(), "events/s")
}

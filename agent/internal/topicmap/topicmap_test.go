package topicmap_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/standpipe/standpipe/agent/internal/topicmap"
	"github.com/standpipe/standpipe/test/draw"
)

// find returns the stream of a topic, or "".
func find(t *testing.T, topic string, filters ...string) string {
	t.Helper()
	var routes []topicmap.Route
	for _, f := range filters {
		routes = append(routes, topicmap.Route{Filter: f, Stream: f, Key: "k"})
	}
	m, err := topicmap.New(routes)
	if err != nil {
		t.Fatal(err)
	}
	if target := m.Find(topic); target != nil {
		return target.Stream
	}
	return ""
}

// The cases are those of MQTT 5, section 4.7.
func TestMap_FindsByWildcards(t *testing.T) {
	for _, c := range []struct {
		filter, topic string
		want          bool
	}{
		{"sport/tennis/player1/#", "sport/tennis/player1", true},
		{"sport/tennis/player1/#", "sport/tennis/player1/ranking", true},
		{"sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true},
		{"sport/tennis/player1/#", "sport/tennis/player12", false},
		{"sport/#", "sport", true},
		{"#", "a", true}, {"#", "/", true}, {"#", "a/b/c", true},
		{"sport/tennis/+", "sport/tennis/player1", true},
		{"sport/tennis/+", "sport/tennis/player1/ranking", false},
		{"sport/+", "sport", false}, {"sport/+", "sport/", true},
		{"+/+", "/finance", true}, {"/+", "/finance", true}, {"+", "/finance", false},
		{"#", "$SYS/a", false}, {"+/monitor/Clients", "$SYS/monitor/Clients", false},
		{"$SYS/#", "$SYS/a", true}, {"$SYS/#", "$SYS", true}, {"$SYS/monitor/+", "$SYS/monitor/Clients", true},
		{"a/b", "a/b", true}, {"a/b", "a/B", false}, {"a/b", "a/b/", false}, {"site/+/sensor/+/#", "site/7/sensor/t1", true},
		{"site/+/sensor/+/#", "site/7/sensor", false},
	} {
		if got := find(t, c.topic, c.filter) != ""; got != c.want {
			t.Errorf("%s matches %s: got %v, want %v", c.filter, c.topic, got, c.want)
		}
	}
}

func TestMap_FirstMatchCounts(t *testing.T) {
	for _, c := range []struct {
		topic, want string
		filters     []string
	}{
		{"a/b", "a/+", []string{"a/+", "a/b"}},
		{"a/b", "a/b", []string{"a/b", "a/+", "#"}},
		{"a/b", "#", []string{"#", "a/b"}},
		{"a/b", "+/b", []string{"a/c", "+/b", "a/#"}},
	} {
		if got := find(t, c.topic, c.filters...); got != c.want {
			t.Errorf("%s in %v: got %s, want %s", c.topic, c.filters, got, c.want)
		}
	}
}

func TestTarget_Key(t *testing.T) {
	for template, want := range map[string]string{
		"${topic}": "site/7/sensor/t1", "${topic[0]}": "site", "${topic[3]}": "t1", "${topic[4]}": "", "x": "x",
		"${client_id}": "dev", "${topic[1]}-${topic[3]}/${client_id}!": "7-t1/dev!",
	} {
		m, err := topicmap.New([]topicmap.Route{{Filter: "site/#", Key: template}})
		if err != nil {
			t.Fatal(err)
		}
		if got := m.Find("site/7/sensor/t1").Key("site/7/sensor/t1", "dev"); got != want {
			t.Errorf("%s: got %q, want %q", template, got, want)
		}
	}
}

func TestNew_RejectsFaults(t *testing.T) {
	for _, r := range []topicmap.Route{
		{Filter: "", Key: "k"}, {Filter: "a/#/b", Key: "k"}, {Filter: "a/b#", Key: "k"}, {Filter: "a+/b", Key: "k"}, {Filter: "a\x00", Key: "k"},
		{Filter: strings.Repeat("a", 65536), Key: "k"},
		{Filter: "a", Key: ""}, {Filter: "a", Key: "${x}"}, {Filter: "a", Key: "${topic"}, {Filter: "a", Key: "${topic[-1]}"}, {Filter: "a/b", Key: "${topic[2]}"},
	} {
		if _, err := topicmap.New([]topicmap.Route{r}); err == nil {
			t.Errorf("%.20q with key %q is accepted", r.Filter, r.Key)
		}
	}
}

func TestCovers(t *testing.T) {
	for _, c := range []struct {
		earlier, filter string
		want            bool
	}{
		{"#", "a/b", true}, {"a/#", "a", true}, {"a/#", "a/+/c", true}, {"a/+", "a/b", true}, {"a/b", "a/+", false},
		{"a/+", "a/#", false}, {"a/b", "a/b", true}, {"a/b", "a/b/c", false}, {"a/b/c", "a/b", false}, {"+/+", "a/#", false},
	} {
		if got := topicmap.Covers(c.earlier, c.filter); got != c.want {
			t.Errorf("%s covers %s: got %v, want %v", c.earlier, c.filter, got, c.want)
		}
	}
}

// slow is a second implementation of matching, level by level, without a tree.
func slow(filters []string, topic string) string {
	for _, f := range filters {
		fs, ts := strings.Split(f, "/"), strings.Split(topic, "/")
		ok := !strings.HasPrefix(topic, "$") || fs[0] != "#" && fs[0] != "+"
		for i, level := range fs {
			if level == "#" {
				ts = fs
				break
			}
			ok = ok && i < len(ts) && (level == "+" || level == ts[i])
		}
		if ok && len(fs) == len(ts) {
			return f
		}
	}
	return ""
}

func TestMap_AgreesWithEachFilterAlone(t *testing.T) {
	seed := draw.Seed(t)
	r := rand.New(rand.NewPCG(seed, 1))
	levels := func(of []string) string {
		parts := make([]string, 1+r.IntN(4))
		for i := range parts {
			parts[i] = of[r.IntN(len(of))]
		}
		return strings.Join(parts, "/")
	}
	for range 200 {
		var filters []string
		for range 1 + r.IntN(20) {
			f := levels([]string{"a", "b", "", "+", "$x"})
			if r.IntN(3) == 0 {
				f += "/#"
			}
			if f == "" {
				f = "+"
			}
			filters = append(filters, f)
		}
		for range 50 {
			topic := levels([]string{"a", "b", "", "c", "$x"})
			if topic == "" {
				continue
			}
			if got, want := find(t, topic, filters...), slow(filters, topic); got != want {
				t.Fatalf("seed %d: %q in %q: got %q, want %q", seed, topic, filters, got, want)
			}
		}
	}
}

// The filters of a large configuration are drawn. Wildcards are rare at first, as they hide all that follows.
func TestMap_RoutesByTenThousandFilters(t *testing.T) {
	seed := draw.Seed(t)
	r := rand.New(rand.NewPCG(seed, 2))
	level := func(most int, wild float64) string {
		if r.Float64() < wild {
			return "+"
		}
		return fmt.Sprint(r.IntN(most))
	}
	routes, split := make([]topicmap.Route, 10_000), make([][]string, 10_000)
	for i := range routes {
		wild := math.Pow(float64(i)/float64(len(routes)), 3) / 3
		split[i] = []string{level(200, wild), level(50, wild), level(5, wild)}[:1+r.IntN(3)]
		if r.Float64() < wild {
			split[i] = append(split[i], "#")
		}
		routes[i] = topicmap.Route{Filter: strings.Join(split[i], "/"), Stream: fmt.Sprint(i), Key: "k"}
	}
	m, err := topicmap.New(routes)
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]bool)
	for range 500 {
		levels := []string{level(201, 0), level(51, 0), level(6, 0), "deep"}[:1+r.IntN(4)]
		want := ""
		if i := slices.IndexFunc(split, func(filter []string) bool { return matches(filter, levels) }); i >= 0 {
			want = routes[i].Stream
		}
		got := ""
		if target := m.Find(strings.Join(levels, "/")); target != nil {
			got = target.Stream
		}
		if got != want {
			t.Fatalf("seed %d: %q goes to stream %q, want %q", seed, levels, got, want)
		}
		found[got] = true
	}
	if len(found) < 20 {
		t.Errorf("seed %d: all topics go to %d streams", seed, len(found))
	}
}

// matches reports whether a filter matches a topic, level by level. No topic begins with $.
func matches(filter, topic []string) bool {
	for i, level := range filter {
		if level == "#" {
			return true
		}
		if i == len(topic) || level != "+" && level != topic[i] {
			return false
		}
	}
	return len(filter) == len(topic)
}

func BenchmarkFind(b *testing.B) {
	var routes []topicmap.Route
	for i := range 10_000 {
		routes = append(routes, topicmap.Route{Filter: fmt.Sprintf("site/%d/+/sensor/#", i), Stream: "s", Key: "${topic[1]}"})
	}
	m, err := topicmap.New(routes)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if m.Find("site/9999/line/sensor/t1") == nil {
			b.Fatal("not found")
		}
	}
}

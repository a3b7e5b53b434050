package topicmap

import (
	"fmt"
	"math"
	"strings"
)

// Route maps the topics of a filter to a stream.
type Route struct {
	Filter, Stream string
	Key            string // the template of the partition key; empty: see KeyField
	KeyField       string // the field of a JSON payload with the partition key, with dots between nested names; empty: Key
}

// Target is the target of the topics of one route.
type Target struct {
	Stream string
	Field  []string // the path of the key in a JSON payload; nil: Key
	key    template
}

// Key returns the partition key of a publish by the client to the topic, for a Target without Field.
func (t *Target) Key(topic, client string) string { return t.key.fill(topic, client) }

// Map finds the route of a topic.
type Map struct {
	root    node
	targets []Target
}

// none is the index of no route.
const none = math.MaxInt

// node is the filters that begin with the same levels.
type node struct {
	first    int // the lowest index of a route at or below the node
	end      int // the index of the route whose filter ends here, or none
	rest     int // the index of the route whose filter ends here with a #, or none
	literal  map[string]*node
	wildcard *node // the level +
}

func newNode() *node { return &node{first: none, end: none, rest: none} }

// New returns the map of the routes. The first of several matching ones counts.
func New(routes []Route) (*Map, error) {
	m := &Map{root: *newNode(), targets: make([]Target, len(routes))}
	for i, r := range routes {
		if wrong := WrongFilter(r.Filter); wrong != "" {
			return nil, fmt.Errorf("topic filter %.100q %s", r.Filter, wrong)
		}
		t := Target{Stream: r.Stream}
		if r.KeyField != "" {
			t.Field = strings.Split(r.KeyField, ".")
		} else if wrong := WrongKey(r.Filter, r.Key); wrong != "" {
			return nil, fmt.Errorf("key %.100q %s", r.Key, wrong)
		}
		var err error
		if t.key, err = parseTemplate(r.Key); err != nil {
			return nil, fmt.Errorf("key %.100q: %w", r.Key, err)
		}
		m.targets[i] = t
		m.root.add(r.Filter, i)
	}
	return m, nil
}

// add adds the route i below n.
func (n *node) add(filter string, i int) {
	n.first = min(n.first, i)
	level, more, deeper := strings.Cut(filter, "/")
	if level == "#" {
		n.rest = min(n.rest, i)
		return
	}
	next := n.child(level)
	if deeper {
		next.add(more, i)
		return
	}
	next.first, next.end = min(next.first, i), min(next.end, i)
}

// child returns the node of a level below n, and adds it if needed.
func (n *node) child(level string) *node {
	if level == "+" {
		if n.wildcard == nil {
			n.wildcard = newNode()
		}
		return n.wildcard
	}
	next := n.literal[level]
	if next == nil {
		if n.literal == nil {
			n.literal = make(map[string]*node)
		}
		next = newNode()
		n.literal[level] = next
	}
	return next
}

// Find returns the target of the first route that matches the topic, or nil.
func (m *Map) Find(topic string) *Target {
	found := none
	level, more, deeper := strings.Cut(topic, "/")
	if strings.HasPrefix(topic, "$") {
		if next := m.root.literal[level]; next != nil {
			found = next.find(more, deeper, none)
		}
	} else {
		found = m.root.find(topic, true, none)
	}
	if found == none {
		return nil
	}
	return &m.targets[found]
}

// find returns the lowest index below best of a route below n that matches the remaining levels, or best. deeper is false if
// the topic ends at n.
func (n *node) find(levels string, deeper bool, best int) int {
	if n.first >= best {
		return best
	}
	best = min(best, n.rest)
	if !deeper {
		return min(best, n.end)
	}
	level, more, deeper := strings.Cut(levels, "/")
	if next := n.literal[level]; next != nil {
		best = next.find(more, deeper, best)
	}
	if n.wildcard != nil {
		best = n.wildcard.find(more, deeper, best)
	}
	return best
}

package relay

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// PathHeader is the metadata of a request with the path of its events:
	//
	//	HOPS AGENT/STREAM AGENT/STREAM ...
	//
	// HOPS is the largest number of agents that an event has passed, the sender included.
	PathHeader = "standpipe-path"

	maxHops    = 16
	maxAgents  = 64               // in a path; those that relayed last stay
	maxPath    = 12 << 10         // bytes that are read of a path
	maxStreams = 4096             // with paths; those of the last requests stay
	keptFor    = 10 * time.Minute // a path counts after its last request
)

// Upstreams records the paths of the relayed requests that an agent gets, by stream. They are part of the path of the
// requests by which the agent relays the stream's events. A request need not be stored, so the streams are bounded too.
type Upstreams struct {
	mu      sync.Mutex
	streams map[string]*upstream
}

// upstream is the paths of one stream.
type upstream struct {
	agents map[string]time.Time // when an agent was last in a path
	hops   [maxHops + 1]time.Time
	last   time.Time // when a request arrived
}

// NewUpstreams returns an empty record.
func NewUpstreams() *Upstreams { return &Upstreams{streams: make(map[string]*upstream)} }

// Arrived records the path of a request to the stream of the agent with the ID self. An error: the request has passed that
// stream before, or too many agents.
func (u *Upstreams) Arrived(self, stream, path string) error {
	own := self + "/" + stream
	hops, agents, err := parsePath(path)
	switch {
	case err != nil:
		return err
	case slices.Contains(agents, own):
		return fmt.Errorf("relay loop: the events have passed stream %q of this agent (%s) before; path: %s", stream, self, strings.Join(agents, ", "))
	case hops > maxHops:
		return fmt.Errorf("relay loop: the events have passed %d agents; at most %d are allowed; path: %s", hops, maxHops, strings.Join(agents, ", "))
	}
	now := time.Now()
	u.mu.Lock()
	defer u.mu.Unlock()
	of := u.streams[stream]
	if of == nil {
		evict(u.streams, maxStreams-1, now, func(of *upstream) time.Time { return of.last })
		of = &upstream{agents: make(map[string]time.Time)}
		u.streams[strings.Clone(stream)] = of
	}
	of.hops[hops], of.last = now, now
	for _, a := range agents {
		if _, known := of.agents[a]; !known {
			evict(of.agents, maxAgents-2, now, func(last time.Time) time.Time { return last }) // this agent is one more
			a = strings.Clone(a)
		}
		of.agents[a] = now
	}
	return nil
}

// evict makes room for one more entry if there are more than most. It removes those that were last used too long ago to
// count or, if all count, the longest unused one.
func evict[V any](all map[string]V, most int, now time.Time, last func(V) time.Time) {
	if len(all) <= most {
		return
	}
	maps.DeleteFunc(all, func(_ string, v V) bool { return now.Sub(last(v)) >= keptFor })
	if len(all) <= most {
		return
	}
	oldest, at := "", now
	for name, v := range all {
		if t := last(v); oldest == "" || t.Before(at) {
			oldest, at = name, t
		}
	}
	delete(all, oldest)
}

// Path returns the path of a request by which the agent with the ID self relays events of the stream.
func (u *Upstreams) Path(self, stream string) string {
	now, hops := time.Now(), 0
	var agents []string
	u.mu.Lock()
	if of := u.streams[stream]; of != nil {
		for a, last := range of.agents {
			if now.Sub(last) < keptFor {
				agents = append(agents, a)
			}
		}
		for n, last := range of.hops {
			if !last.IsZero() && now.Sub(last) < keptFor {
				hops = n
			}
		}
	}
	u.mu.Unlock()
	slices.Sort(agents)
	return strings.Join(append([]string{strconv.Itoa(hops + 1)}, append(agents, self+"/"+stream)...), " ")
}

// parsePath parses the value of PathHeader.
func parsePath(path string) (hops int, agents []string, err error) {
	count, rest, _ := strings.Cut(path, " ")
	hops, err = strconv.Atoi(count)
	if err != nil || hops < 1 || len(path) > maxPath {
		return 0, nil, fmt.Errorf("invalid %s of %d bytes: must be a number of agents, then each of them", PathHeader, len(path))
	}
	return hops, strings.Fields(rest), nil
}

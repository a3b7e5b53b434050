//go:build unix

package e2e_test

import (
	"context"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/standpipe/standpipe/test/draw"
	"github.com/standpipe/standpipe/test/kafkakit"
	"github.com/standpipe/standpipe/test/testkit"
)

// subject is a destination with its service.
type subject struct {
	inside   string // the block, in the stream events
	arrived  func() []event
	exact    bool // no event arrives twice
	anyOrder bool
	slow     bool           // its stand-in takes some hundred events a second
	prepare  func(a *agent) // before the first start; nil: nothing

	cut, hang func(bool) // begins or ends a fault of the connection; nil: there is none
}

// subjects has each destination whose events can be read back. docs/destinations.md has the properties that it declares.
var subjects = map[string]func(t *testing.T, seed uint64) subject{
	"file":               fileSubject,
	"stdout":             stdoutSubject,
	"kinesis":            kinesisSubject,
	"firehose":           firehoseSubject,
	"kafka":              func(t *testing.T, _ uint64) subject { return kafkaSubject(t, "at_least_once") },
	"kafka_exactly_once": func(t *testing.T, _ uint64) subject { return kafkaSubject(t, "exactly_once") },
	"s3":                 func(t *testing.T, seed uint64) subject { return s3Subject(t, seed, "roll_size = \"64KiB\"") },
	"s3_parquet": func(t *testing.T, seed uint64) subject {
		return s3Subject(t, seed, "format = \"parquet\"\n    roll_size = \"256KiB\"")
	},
	"s3_parts": func(t *testing.T, seed uint64) subject {
		return s3Subject(t, seed, "compression = \"none\"\n    roll_size = \"12MiB\"")
	},
	"sqs":      func(t *testing.T, seed uint64) subject { return sqsSubject(t, seed, "jobs") },
	"sqs_fifo": func(t *testing.T, seed uint64) subject { return sqsSubject(t, seed, "jobs.fifo") },
	"relay":    relaySubject,
}

// Every destination gets each event, in order and exactly once where it declares that, while the agent is killed and the
// connections are cut or hang, STANDPIPE_E2E_CONFORMANCE_ROUNDS times.
func TestConformance(t *testing.T) {
	endToEnd(t)
	rounds := number(t, "STANDPIPE_E2E_CONFORMANCE_ROUNDS", 6)
	seed := draw.Seed(t)
	t.Logf("%d rounds", rounds)
	for name, open := range subjects {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conform(t, open(t, seed), rounds, seed)
		})
	}
}

func conform(t *testing.T, s subject, rounds int, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 12))
	a := newAgent(t, "wal {\n  max_size = \"2GiB\"\n}\n", streamBlock("events", s.inside))
	if s.prepare != nil {
		s.prepare(a)
	}
	a.start()
	w := newWriter(t, "events", "gateway-17", seed)
	for round := range rounds {
		took := time.Duration(50+r.IntN(300)) * time.Millisecond
		if s.slow {
			took /= 20
		}
		fault := []func(bool){nil, s.cut, s.hang}[round%3]
		if fault == nil {
			writeUntilKilled(a, took, w)
			a.start()
			continue
		}
		fault(true)
		ctx, cancel := context.WithTimeout(t.Context(), took)
		w.run(ctx, a.dial())
		cancel()
		if r.IntN(2) == 0 {
			a.kill() // while the connections are broken
			a.start()
		}
		fault(false)
	}
	finish(a, w)
	sent, _ := w.events()
	a.waitDelivered("events", sent, 2*time.Minute)
	a.stop()
	arrived := s.arrived()
	if s.anyOrder {
		v := w.history().judge(arrived)
		if v.missing+v.foreign > 0 {
			t.Errorf("got %v", v)
		}
		return
	}
	duplicates := 0
	if !s.exact {
		duplicates = len(arrived)
	}
	t.Logf("%v", w.history().expectWhole(t, "events", arrived, duplicates))
}

func fileSubject(t *testing.T, _ uint64) subject {
	dir := t.TempDir()
	return subject{
		inside:  "\n  destination \"file\" \"local\" { path = \"" + dir + "\" }",
		arrived: func() []event { return delivered(t, dir, "sensor", true) }, exact: true,
	}
}

func stdoutSubject(t *testing.T, _ uint64) subject {
	var r *reader
	return subject{
		inside:  "\n  destination \"stdout\" \"console\" {}",
		prepare: func(a *agent) { r = pipeTo(t, a) },
		arrived: func() []event {
			all, err := lines([]byte(strings.Join(r.read(), "")), "sensor")
			testkit.Must(t, err)
			return all
		},
		hang: func(on bool) { r.pause.Store(on) },
	}
}

// through puts a link in front of a service, whose URL or address is target. It returns the URL or address of the link.
func (s *subject) through(t *testing.T, target string, seed uint64) string {
	t.Helper()
	address, scheme := target, ""
	if u, err := url.Parse(target); err == nil && u.Host != "" {
		address, scheme = u.Host, "http://"
	}
	l := startLink(t, address, 200_000, 20_000, seed)
	s.cut = func(on bool) {
		l.bad.Store(on)
		if on {
			l.cutAll()
		}
	}
	s.hang = l.still.Store
	return scheme + l.listener.Addr().String()
}

func kinesisSubject(t *testing.T, seed uint64) subject {
	k := startKinesalite(t)
	k.create("events", 2)
	s := subject{arrived: func() []event {
		all, _ := k.read("events")
		return all
	}}
	s.inside = kinesisDestination(s.through(t, k.endpoint(), seed))
	return s
}

func firehoseSubject(t *testing.T, seed uint64) subject {
	m := startMoto(t)
	m.create("events")
	s := subject{anyOrder: true, arrived: func() (all []event) { // events are in order within a record
		for _, object := range m.objects() {
			some, err := lines(object, "sensor")
			testkit.Must(t, err)
			all = append(all, some...)
		}
		return all
	}}
	s.inside = firehoseDestination(s.through(t, m.endpoint(), seed))
	return s
}

func kafkaSubject(t *testing.T, delivery string) subject {
	b := kafkakit.Start(t, nil)
	b.CreateTopic("events", 3)
	return subject{
		inside: kafkaDestination(b, delivery), arrived: func() []event { return arrived(b, "events") }, exact: delivery == "exactly_once",
		hang: func(on bool) {
			if on {
				b.Hang()
			} else {
				b.Resume()
			}
		},
	}
}

func s3Subject(t *testing.T, seed uint64, settings string) subject {
	o := startObjectStore(t, "versitygw")
	direct := o.endpoint
	s := subject{exact: true}
	o.endpoint = s.through(t, direct, seed)
	s.inside = o.destination(settings + "\n    roll_interval = \"300ms\"")
	s.arrived = func() []event {
		if n := o.uploads(); n > 0 {
			t.Errorf("%d unfinished uploads are left", n)
		}
		all, _ := o.events("events")
		return all
	}
	return s
}

func sqsSubject(t *testing.T, seed uint64, queue string) subject {
	q, err := startElasticMQ(t)
	if err != nil {
		testkit.Missing(t, "SQS on ElasticMQ", err)
	}
	created := q.create(queue)
	fifo := strings.HasSuffix(queue, ".fifo")
	s := subject{exact: fifo, anyOrder: !fifo, slow: true, arrived: func() []event { return q.read(created) }}
	u, err := url.Parse(created)
	testkit.Must(t, err)
	s.inside = sqsDestination(s.through(t, "http://"+u.Host, seed) + u.Path)
	return s
}

func relaySubject(t *testing.T, seed uint64) subject {
	site := startAgent(t, "wal {\n  max_size = \"2GiB\"\n}\n", streamBlock("events", fileDestination))
	s := subject{exact: true}
	s.inside = relayTo(s.through(t, site.grpc, seed), "")
	s.arrived = func() []event {
		site.stop() // delivers all pending events
		return delivered(t, site.path("out/events"), "sensor", true)
	}
	return s
}

//go:build unix

package e2e_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
)

// A writer sends numbered events over AppendStream until the stream breaks, and records the acked ones. With a
// producer ID it resends requests without a response; without one it goes on with new events, so that an event
// without an ack is sent exactly once.
type writer struct {
	t        *testing.T
	stream   string
	producer string
	r        *rand.Rand
	counts   map[string]int
	batches  []*batch // everything ever sent, in order
	acked    int      // batches before it were answered
	next     uint64   // offset that the next new event gets at the earliest
	repeated int      // batches that the agent recognised
}

type batch struct {
	request *standpipev1.AppendRequest
	events  []event
	acked   bool
}

func newWriter(t *testing.T, stream, producer string, seed uint64) *writer {
	return &writer{t: t, stream: stream, producer: producer, r: rand.New(rand.NewPCG(seed, 9)), counts: make(map[string]int), next: 1}
}

// inFlight is how many requests may wait for their answer.
const inFlight = 16

// run writes until the stream breaks or ctx ends, and returns once every answer that came is noted.
func (w *writer) run(ctx context.Context, client standpipev1.IngestClient) {
	calls, err := client.AppendStream(ctx)
	if err != nil {
		return
	}
	if w.producer == "" {
		w.acked = len(w.batches)
	}
	sent := make(chan *batch, inFlight) // closed by the sender
	var sender sync.WaitGroup
	sender.Go(func() { w.sendAll(calls, sent) })
	for b := range sent {
		answer, err := calls.Recv()
		if err != nil {
			break
		}
		w.note(b, answer)
	}
	for range sent {
	}
	sender.Wait()
}

func (w *writer) sendAll(calls standpipev1.Ingest_AppendStreamClient, sent chan<- *batch) {
	defer close(sent)
	for _, b := range w.batches[w.acked:] {
		if calls.Send(b.request) != nil {
			return
		}
		sent <- b
	}
	for {
		b := w.make()
		w.batches = append(w.batches, b)
		if calls.Send(b.request) != nil {
			return
		}
		sent <- b
	}
}

// make builds the next batch: 1 to 20 events of 8 keys, of up to 2 KiB.
func (w *writer) make() *batch {
	var b batch
	for range 1 + w.r.IntN(20) {
		key := fmt.Sprintf("k%d", w.r.IntN(8))
		w.counts[key]++
		b.events = append(b.events, event{key, fmt.Sprintf(`{"sensor":%q,"n":%d,"pad":%q}`, key, w.counts[key], filler(w.r.IntN(2048)))})
	}
	b.request = request(w.stream, b.events...)
	if w.producer != "" {
		b.request.ProducerId, b.request.ProducerSequence = w.producer, w.sequence()
	}
	return &b
}

// sequence is the producer's number of the next new event.
func (w *writer) sequence() uint64 {
	if len(w.batches) == 0 {
		return 1
	}
	last := w.batches[len(w.batches)-1].request
	return last.ProducerSequence + uint64(len(last.Events))
}

// note keeps a response and compares it with the contract.
func (w *writer) note(b *batch, answer *standpipev1.AppendResponse) {
	b.acked = true
	w.acked++
	if int(answer.Count) != len(b.events) || answer.Ack != standpipev1.Ack_ACK_DURABLE {
		w.t.Errorf("got an answer for %d events, ack %s, want %d, durable", answer.Count, answer.Ack, len(b.events))
	}
	if answer.Duplicate {
		w.repeated++
	}
	if answer.FirstOffset < w.next {
		w.t.Errorf("got first offset %d, but %d was given out already", answer.FirstOffset, w.next-1)
	}
	w.next = answer.FirstOffset + uint64(answer.Count)
}

// history is the input of the judge: all sent events, and the acked ones among them.
func (w *writer) history() *checker {
	c := newChecker()
	for _, b := range w.batches {
		for _, e := range b.events {
			c.send(e, b.acked)
		}
	}
	return c
}

// events counts the sent events.
func (w *writer) events() (sent, acked int) {
	for _, b := range w.batches {
		sent += len(b.events)
		if b.acked {
			acked += len(b.events)
		}
	}
	return sent, acked
}

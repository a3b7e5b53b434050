package agent_test

import (
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
)

// Free space below min_free rejects appends, in all places that operators look at, until a reload lowers min_free.
func TestMinFree_RejectsAppends(t *testing.T) {
	dir := t.TempDir()
	const stream = "\nstream \"s\" {\n  destination \"file\" \"f\" { path = \"DIR/out\" }\n}"
	conf := parse(t, dir, "wal { min_free = \"99.999999%\" }"+stream)
	a := run(t, conf)
	<-a.Running()
	if err := a.Ready(); err == nil || !strings.Contains(err.Error(), "min_free") {
		t.Errorf("ready: got %v", err)
	}
	if got := a.Status().Accepting; got.OK || got.Reason != "min_free" {
		t.Errorf("got %+v", got)
	}
	client := dial(t, conf)
	_, err := client.Append(t.Context(), &standpipev1.AppendRequest{Stream: "s", Events: []*standpipev1.Event{{PartitionKey: "k", Data: []byte("1")}}})
	if status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "min_free") {
		t.Errorf("append: got %v", err)
	}

	if err := a.Reload(parse(t, dir, "wal { min_free = \"1B\" }"+stream)); err != nil {
		t.Fatal(err)
	}
	until(t, "the agent accepts events", func() bool { return a.Ready() == nil })
	send(t, client, "s", 1)
}

// A producer that lost the response to a batch gets it for its resend, although new batches are rejected.
func TestMinFree_AcksAResend(t *testing.T) {
	dir := t.TempDir()
	const stream = "\nstream \"s\" {\n  destination \"file\" \"f\" { path = \"DIR/out\" }\n}"
	conf := parse(t, dir, "wal { min_free = \"1B\" }"+stream)
	a := run(t, conf)
	<-a.Running()
	client := dial(t, conf)
	batch := func(sequence uint64) (*standpipev1.AppendResponse, error) {
		return client.Append(t.Context(), &standpipev1.AppendRequest{Stream: "s", ProducerId: "p", ProducerSequence: sequence,
			Events: []*standpipev1.Event{{PartitionKey: "k", Data: []byte("1")}}})
	}
	if _, err := batch(1); err != nil {
		t.Fatal(err)
	}
	if err := a.Reload(parse(t, dir, "wal { min_free = \"99.999999%\" }"+stream)); err != nil {
		t.Fatal(err)
	}
	until(t, "the agent rejects events", func() bool { return a.Ready() != nil })
	if r, err := batch(1); err != nil || !r.Duplicate {
		t.Errorf("sent again: got %v, %v, want a duplicate", r, err)
	}
	if _, err := batch(2); status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "min_free") {
		t.Errorf("a new batch: got %v", err)
	}
}

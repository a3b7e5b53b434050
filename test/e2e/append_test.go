//go:build unix

package e2e_test

import (
	"cmp"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
)

// request makes an AppendRequest of the events.
func request(stream string, events ...event) *standpipev1.AppendRequest {
	r := &standpipev1.AppendRequest{Stream: stream}
	for _, e := range events {
		r.Events = append(r.Events, &standpipev1.Event{PartitionKey: e.key, Data: []byte(e.data)})
	}
	return r
}

// batches cuts events into requests of at most n events and 4 MiB.
func batches(events []event, n int) [][]event {
	var cut [][]event
	begin, size := 0, 0
	for i, e := range events {
		if i > begin && (i-begin == n || size+len(e.data) > 4<<20) {
			cut = append(cut, events[begin:i])
			begin, size = i, 0
		}
		size += len(e.data)
	}
	if begin < len(events) {
		cut = append(cut, events[begin:])
	}
	return cut
}

// send appends the events, a hundred a request, and requires every one to be stored.
func send(t *testing.T, client standpipev1.IngestClient, stream string, events []event) {
	t.Helper()
	for _, batch := range batches(events, 100) {
		got, err := client.Append(t.Context(), request(stream, batch...))
		if err != nil {
			t.Fatal(err)
		}
		if int(got.Count) != len(batch) || got.Ack != standpipev1.Ack_ACK_DURABLE {
			t.Fatalf("got %d events stored, ack %s, want %d, durable", got.Count, got.Ack, len(batch))
		}
	}
}

// sendFitting sends events among which some are too large: those are rejected by name, and the rest of their batch is
// sent without them. A batch is rejected as a whole, so refused counts the events of every rejected batch.
func sendFitting(t *testing.T, client standpipev1.IngestClient, stream string, events []event) (stored []event, refused int) {
	t.Helper()
	for _, batch := range batches(events, 100) {
		for len(batch) > 0 {
			_, err := client.Append(t.Context(), request(stream, batch...))
			if err == nil {
				stored = append(stored, batch...)
				break
			}
			i := namedIndex(t, err)
			t.Logf("refused, %d bytes: %v", len(batch[i].data), err)
			refused += len(batch)
			batch = slices.Delete(slices.Clone(batch), i, i+1)
		}
	}
	return stored, refused
}

var eventIndex = regexp.MustCompile(`\bevent (\d+)\b`)

// namedIndex returns the index of the event that a refusal names.
func namedIndex(t *testing.T, err error) int {
	t.Helper()
	found := eventIndex.FindStringSubmatch(err.Error())
	if status.Code(err) != codes.InvalidArgument || found == nil {
		t.Fatalf("got %v, want InvalidArgument and the event's index", err)
	}
	i, _ := strconv.Atoi(found[1])
	return i
}

// expectError requires a gRPC call's error to have a code and to contain some words.
func expectError(t *testing.T, err error, want codes.Code, words ...string) {
	t.Helper()
	if status.Code(err) != want {
		t.Errorf("got %v, want code %s", err, want)
		return
	}
	for _, word := range words {
		if !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(word)) {
			t.Errorf("got %q, want it to name %q", err, word)
		}
	}
}

// delivered returns the events of a file destination's folder in the log's order. With whole, a
// file that is not finished is a fault.
func delivered(t *testing.T, folder, field string, whole bool) []event {
	t.Helper()
	var all []byte
	for _, path := range deliveredFiles(t, folder) {
		if whole && strings.HasSuffix(path, ".tmp") {
			t.Errorf("%s is left unfinished", path)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
	events, err := lines(all, field)
	if err != nil {
		t.Fatal(err)
	}
	return events
}

// deliveredFiles lists PATH/YYYY/MM/DD/HH/STREAM-FIRSTOFFSET.jsonl by first offset.
func deliveredFiles(t *testing.T, folder string) []string {
	t.Helper()
	var paths []string
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(paths, func(a, b string) int { return cmp.Compare(firstOffset(t, a), firstOffset(t, b)) })
	return paths
}

var fileName = regexp.MustCompile(`/\d{4}/\d\d/\d\d/\d\d/[^/]+-(\d+)\.jsonl(\.tmp)?$`)

func firstOffset(t *testing.T, path string) uint64 {
	t.Helper()
	found := fileName.FindStringSubmatch(path)
	if found == nil {
		t.Fatalf("%s is not named YYYY/MM/DD/HH/STREAM-FIRSTOFFSET.jsonl", path)
	}
	offset, err := strconv.ParseUint(found[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return offset
}

//go:build unix

package e2e_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

// unzipped reads one valid gzip file, of however many members, with the standard library.
func unzipped(t *testing.T, file []byte) []byte {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return plain
}

// opener takes events out of their envelopes as a consumer does.
type opener struct {
	t   *testing.T
	ids map[string]bool
}

func (o opener) open(file []byte) (events []event) {
	o.t.Helper()
	for line := range strings.Lines(string(file)) {
		var e struct {
			ID     string
			Offset uint64
			Key    string
			Time   time.Time
			Data   json.RawMessage
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			o.t.Fatalf("%v in a line of %d bytes", err, len(line))
		}
		if o.ids[e.ID] || !strings.HasSuffix(e.ID, fmt.Sprintf("/wrapped/%d", e.Offset)) || e.Time.IsZero() {
			o.t.Errorf("id %q of offset %d at %v: seen before: %v", e.ID, e.Offset, e.Time, o.ids[e.ID])
		}
		o.ids[e.ID] = true
		events = append(events, event{e.Key, string(e.Data)})
	}
	return events
}

// Objects of compressed records are one valid gzip file each, a compressed Kinesis record is one, and the
// envelopes in them hold every event once, in its key's order, byte for byte.
func TestDestinations_CompressedEnvelopesReachThree(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	k, m := startKinesalite(t), startMoto(t)
	k.create("wrapped", 2)
	m.create("wrapped")
	wrap := func(destination, settings string) string {
		return strings.Replace(destination, "    aws {", settings+"\n    envelope = true\n    aws {", 1)
	}
	a := startAgent(t, "", streamBlock("wrapped",
		wrap(kinesisAs("live", "lines", k.endpoint()), `    compression = "gzip"`),
		wrap(firehoseDestination(m.endpoint()), `    compression = "gzip"`),
		"\n  destination \"file\" \"local\" {\n    path     = \"${dir}/out/${stream}\"\n    envelope = true\n  }"))
	all := dataSet(t, 5000)
	sent, _ := sendFitting(t, a.dial(), "wrapped", all)
	s := a.waitDelivered("wrapped", len(sent), 5*time.Minute)
	a.stop()

	c := owing(sent)
	records, _ := k.read("wrapped")
	live, archive, local := opener{t, map[string]bool{}}, opener{t, map[string]bool{}}, opener{t, map[string]bool{}}
	arrived := map[string][]event{}
	for _, record := range records {
		arrived["live"] = append(arrived["live"], live.open(unzipped(t, []byte(record.data)))...)
	}
	for _, object := range m.contents() {
		arrived["archive"] = append(arrived["archive"], archive.open(unzipped(t, object))...)
	}
	for _, path := range deliveredFiles(t, a.path("out")) {
		file, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		arrived["local"] = append(arrived["local"], local.open(file)...)
	}
	for name, events := range arrived {
		d := s.destination(name)
		t.Logf("%s: %v; %d requests, %d records, %d bytes of payload, %d bytes billed", name, c.expectWhole(t, name, events, 0),
			d.Requests, d.Records, d.Delivered.Bytes, d.BilledBytes)
	}
	if archived := s.destination("archive"); archived.CompressionRatio < 2 {
		t.Errorf("the status tells a compression ratio of %.2f, want that of JSON lines", archived.CompressionRatio)
	}
}

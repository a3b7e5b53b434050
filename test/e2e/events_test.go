//go:build unix

package e2e_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/standpipe/standpipe/test/draw"
)

// An event is sent by a test and found again at a destination.
type event struct {
	key  string
	data string
}

// sensors are the keys of the generated events, as many as the real set has.
func sensorName(i int) string {
	places := []string{"boiler", "cellar", "gate", "hall", "pump", "roof"}
	kinds := []string{"flow", "power", "pressure", "temperature"}
	return places[i%len(places)] + "/" + kinds[i/len(places)%len(kinds)]
}

// readings generates n sensor readings of 24 keys, as lines of JSON; "n" counts from 1 in each.
func readings(seed uint64, n int) []event {
	r := rand.New(rand.NewPCG(seed, 24))
	counts := make(map[string]int)
	events := make([]event, n)
	for i := range events {
		key := sensorName(int(r.ExpFloat64()*4) % 24)
		counts[key]++
		events[i] = event{key, fmt.Sprintf(`{"sensor":%q,"n":%d,"time":"2026-11-02T%02d:%02d:%02dZ","value":%.4f}`,
			key, counts[key], i/3600%24, i/60%60, i%60, 20+50*r.Float64())}
	}
	return events
}

// dataSet returns the events of the file that STANDPIPE_E2E_DATA names (lines of JSON, plain or
// gzipped, with the key in the field STANDPIPE_E2E_KEY, "sensor" unless set), or generated ones.
func dataSet(t *testing.T, n int) []event {
	t.Helper()
	path := os.Getenv("STANDPIPE_E2E_DATA")
	if path == "" {
		seed := draw.Seed(t)
		t.Logf("%d generated events", n)
		return readings(seed, n)
	}
	events, err := readEvents(path, keyField())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d events of %s", len(events), path)
	return events
}

func keyField() string {
	if field := os.Getenv("STANDPIPE_E2E_KEY"); field != "" {
		return field
	}
	return "sensor"
}

func readEvents(path, field string) ([]event, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var r io.Reader = f
	if strings.HasSuffix(path, ".gz") {
		if r, err = gzip.NewReader(f); err != nil {
			return nil, err
		}
	}
	return parseLines(r, field)
}

// parseLines reads lines of JSON objects whose field is the key.
func parseLines(r io.Reader, field string) ([]event, error) {
	var events []event
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		e := event{data: lines.Text()}
		if err := e.readKey(field); err != nil {
			return nil, fmt.Errorf("line %d: %w", len(events), err)
		}
		events = append(events, e)
	}
	return events, lines.Err()
}

func (e *event) readKey(field string) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal([]byte(e.data), &fields); err != nil {
		return fmt.Errorf("%w in %d bytes", err, len(e.data))
	}
	return json.Unmarshal(fields[field], &e.key)
}

// lines takes the bytes of a file of lines apart; every line must end with a newline.
func lines(b []byte, field string) ([]event, error) {
	if len(b) > 0 && b[len(b)-1] != '\n' {
		return nil, fmt.Errorf("the last line of %d bytes has no newline", len(b))
	}
	return parseLines(bytes.NewReader(b), field)
}

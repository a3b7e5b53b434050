//go:build unix

package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"
	"testing"
	"time"

	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
	"github.com/standpipe/standpipe/test/testkit"
)

// A copy of a log and its original write to one prefix. Neither replaces an object of the other, an object has the events that
// its key names, and an ID stands for one event.
func TestS3_CloneWritesObjectsOfItsOwn(t *testing.T) {
	endToEnd(t)
	o := startObjectStore(t, "versitygw")
	block := streamBlock("orders", o.destination("envelope = true\n    roll_size = \"16KiB\"\n    roll_interval = \"200ms\""))
	original, clone := newAgent(t, "", block), newAgent(t, "", block)
	const shared, own = 600, 400
	original.start()
	putNumbers(original, "shared", shared)
	time.Sleep(50 * time.Millisecond) // killed in the middle of the delivery, or behind it
	original.kill()
	testkit.Must(t, os.CopyFS(clone.path("data"), os.DirFS(original.path("data"))))
	original.start()
	putNumbers(original, "original", own)
	original.waitDelivered("orders", shared+own, time.Minute)
	before := make(map[string]string)
	for _, key := range o.keys("raw/orders/") {
		before[key] = string(o.get(key))
	}
	clone.start()
	putNumbers(clone, "clone", own)
	putNumbers(original, "both", own)
	clone.waitDelivered("orders", shared+own, time.Minute)
	original.waitDelivered("orders", shared+2*own, time.Minute)
	original.stop()
	clone.stop()
	for key, body := range before {
		if string(o.get(key)) != body {
			t.Errorf("object %s has changed", key)
		}
	}
	checkClones(t, o, map[string]int{"shared": shared, "original": own, "clone": own, "both": own})
}

// putNumbers appends n events that name their origin.
func putNumbers(a *agent, from string, n int) {
	a.t.Helper()
	r := &standpipev1.AppendRequest{Stream: "orders"}
	for i := range n {
		r.Events = append(r.Events, &standpipev1.Event{PartitionKey: fmt.Sprint("k", i%5), Data: fmt.Appendf(nil, `{"from":%q,"n":%d}`, from, i)})
	}
	if _, err := a.dial().Append(a.t.Context(), r); err != nil {
		a.t.Fatal(err)
	}
}

// checkClones reads all objects of a log and its copy. want is the number of events by their origin.
func checkClones(t *testing.T, o *objectStore, want map[string]int) {
	t.Helper()
	type line struct {
		ID     string
		Offset uint64
		Data   json.RawMessage
	}
	byID, objectsOf, got := make(map[string]string), make(map[string]string), make(map[string]bool)
	for _, key := range o.keys("raw/orders/") {
		name := strings.TrimSuffix(path.Base(key), ".jsonl.gz")
		log, first := name[len("orders-"):len(name)-len("-00000000000000000000")], name[len(name)-20:]
		for i, text := range strings.Split(strings.TrimSuffix(string(unzipped(t, o.get(key))), "\n"), "\n") {
			var l line
			testkit.Must(t, json.Unmarshal([]byte(text), &l))
			if n, _ := strconv.ParseUint(first, 10, 64); i == 0 && n != l.Offset {
				t.Errorf("object %s begins with offset %d", key, l.Offset)
			}
			if was, seen := byID[l.ID]; seen && was != string(l.Data) {
				t.Errorf("ID %s stands for %s and %s", l.ID, was, l.Data)
			}
			byID[l.ID] = string(l.Data)
			if other, twice := objectsOf[log+" "+l.ID]; twice {
				t.Errorf("event %s is in %s and in %s, both of log %s", l.ID, other, key, log)
			}
			objectsOf[log+" "+l.ID] = key
			got[string(l.Data)] = true
		}
	}
	for from, n := range want {
		for i := range n {
			if data := fmt.Sprintf(`{"from":%q,"n":%d}`, from, i); !got[data] {
				t.Fatalf("event %s is in no object", data)
			}
		}
	}
	t.Logf("%d events in %d pairs of a log and an event", len(got), len(objectsOf))
}

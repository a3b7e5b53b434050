package agent_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/standpipe/standpipe/agent"
	"github.com/standpipe/standpipe/agent/admin"
	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
	"github.com/standpipe/standpipe/test/fakeaws"
)

// poisoned is a Firehose that rejects each request with a record that has the word poison.
func poisoned(t *testing.T) (fake *fakeaws.Server, destination string) {
	t.Helper()
	awsEnvironment(t)
	fake = fakeaws.Start(t)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		var request struct{ Records []struct{ Data []byte } }
		_ = json.Unmarshal(body, &request)
		for _, record := range request.Records {
			if bytes.Contains(record.Data, []byte("poison")) {
				w.Header().Set("Content-Type", "application/x-amz-json-1.1")
				w.WriteHeader(http.StatusBadRequest)
				fmt.Fprint(w, `{"__type":"InvalidArgumentException","message":"poison"}`)
				return
			}
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		fake.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	return fake, fmt.Sprintf(`
  destination "firehose" "b" {
    delivery_stream = "b"
    endpoint        = %q
    batch { max_delay = "10ms" }
    retry { max = "100ms" }
  }`, srv.URL)
}

// poisonedStreams is a log of size bytes, a stream s with the destination beside a file, and a stream t.
func poisonedStreams(size, destination string) string {
	return "\nwal { max_size = \"" + size + "\" }\nstream \"s\" {\n  format = \"text\"" + destination + fileA + "\n}\nstream \"t\" {\n  format = \"text\"" + strings.ReplaceAll(fileA, "DIR/a", "DIR/t") + "\n}\n"
}

func appendTo(t *testing.T, client standpipev1.IngestClient, stream, key, data string) {
	t.Helper()
	if _, err := client.Append(t.Context(), &standpipev1.AppendRequest{
		Stream: stream, Events: []*standpipev1.Event{{PartitionKey: key, Data: []byte(data)}},
	}); err != nil {
		t.Fatal(err)
	}
}

// dropLetters is `standpipe dead drop --stream s`.
func dropLetters(t *testing.T, dir string) (out admin.DeadOutcome) {
	t.Helper()
	c := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(dir, "admin.sock"))
	}}}
	defer c.CloseIdleConnections()
	r, err := c.Post("http://localhost/v1/dead/drop", "application/json", strings.NewReader(`{"stream":"s"}`))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if err := json.NewDecoder(r.Body).Decode(&out); err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("got %d, %v", r.StatusCode, err)
	}
	return out
}

func settledAt(t *testing.T, a *agent.Agent, stream, name string, events uint64) func() bool {
	return func() bool {
		d := destination(t, a, stream, name)
		return d.Pending.Events == 0 && d.Delivered.Events == events
	}
}

// The file of the dead letters is full: the status of the destination has the reason, its siblings, other keys and other
// streams go on, and shipping goes on once letters are dropped.
func TestDeadLetters_FullUntilSomeAreDropped(t *testing.T) {
	fake, firehose := poisoned(t)
	dir := t.TempDir()
	conf := parse(t, dir, poisonedStreams("1MiB", firehose))
	a := run(t, conf)
	client := dial(t, conf)
	const poison = 25
	for i := range poison {
		appendTo(t, client, "s", fmt.Sprint("k", i%3), "poison"+strings.Repeat("x", 8<<10))
	}
	full := func() bool {
		d := destination(t, a, "s", "b")
		return strings.Contains(d.LastError, "no room for a dead letter") && strings.Contains(d.LastError, "drop or requeue some")
	}
	until(t, "the dead letters are full", full)
	before := destination(t, a, "s", "b")
	if before.Dead.Events == 0 || before.Pending.Events == 0 || before.Dead.Events+before.Pending.Events != poison {
		t.Errorf("got %+v", before)
	}
	appendTo(t, client, "t", "k", "sound")
	appendTo(t, client, "s", "sound", "sound")
	until(t, "the other stream is delivered", settledAt(t, a, "t", "a", 1))
	until(t, "the other destination is delivered", settledAt(t, a, "s", "a", poison+1))
	until(t, "the other key is delivered", func() bool { return fake.Stored() == 1 })
	if st := a.Status().WAL; st.DeadBytes > st.MaxDeadBytes {
		t.Errorf("got %d bytes of dead letters, the limit is %d", st.DeadBytes, st.MaxDeadBytes)
	}
	for dropped := uint64(0); dropped < poison; {
		n := uint64(dropLetters(t, dir).Dropped)
		dropped += n
		if want := dropped; dropped < poison {
			until(t, "shipping goes on", func() bool { return destination(t, a, "s", "b").Dead.Events > want || n == 0 })
		}
	}
	until(t, "everything is settled", settledAt(t, a, "s", "b", 1))
	d := destination(t, a, "s", "b")
	if d.Dead.Events != poison || d.State != admin.Running || d.LastError != "" && full() {
		t.Errorf("got %+v, want %d dead", d, poison)
	}
}

// The event of a letter above the bound stays in the log, with the reason in the status. Everything else goes on.
func TestDeadLetters_LargerThanTheirBound(t *testing.T) {
	_, firehose := poisoned(t)
	dir := t.TempDir()
	conf := parse(t, dir, poisonedStreams("4MiB", firehose))
	a := run(t, conf)
	client := dial(t, conf)
	appendTo(t, client, "s", "large", "poison"+strings.Repeat("x", 600<<10))
	until(t, "the reason is in the status", func() bool {
		return strings.Contains(destination(t, a, "s", "b").LastError, "it needs a larger max_size")
	})
	for i := range 20 {
		appendTo(t, client, "s", fmt.Sprint("k", i), "sound")
		appendTo(t, client, "t", "k", "sound")
	}
	until(t, "the other stream is delivered", settledAt(t, a, "t", "a", 20))
	until(t, "the other destination is delivered", settledAt(t, a, "s", "a", 21))
	until(t, "the other keys are delivered", func() bool { return destination(t, a, "s", "b").Delivered.Events == 20 })
	appendTo(t, client, "s", "k", "poison that fits")
	until(t, "a letter that fits is dead", func() bool { return destination(t, a, "s", "b").Dead.Events == 1 })
	if d := destination(t, a, "s", "b"); d.Pending.Events != 1 {
		t.Errorf("got %+v, want the large event alone pending", d)
	}
}

// A damaged file of dead letters is set aside: status and metrics name it until it is removed, and letters go to a new file.
func TestDeadLetters_SetAsideAreShown(t *testing.T) {
	_, firehose := poisoned(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "dead.db"), bytes.Repeat([]byte("damaged "), 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	conf := parse(t, dir, poisonedStreams("4MiB", firehose))
	said := new(transcript)
	a := runLogged(t, conf, said)
	appendTo(t, dial(t, conf), "s", "k", "poison")
	until(t, "the event is a dead letter", func() bool { return destination(t, a, "s", "b").Dead.Events == 1 })
	until(t, "dead.db.corrupt alone is set aside", func() bool { return slices.Equal(a.Status().WAL.SetAside, []string{"dead.db.corrupt"}) })
	if said.count("set aside") == 0 {
		t.Error("the agent's log does not name the file")
	}
	if err := os.Remove(filepath.Join(dir, "dead.db.corrupt")); err != nil {
		t.Fatal(err)
	}
	until(t, "no file is set aside", func() bool { return len(a.Status().WAL.SetAside) == 0 })
}

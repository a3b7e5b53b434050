package putcmd_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/standpipe/standpipe/agent/ingest"
	"github.com/standpipe/standpipe/cmd/standpipe/internal/putcmd"
	"github.com/standpipe/standpipe/wal"
)

// putTarget is a log behind a gRPC listener.
type putTarget struct {
	log     *wal.Log
	address string
}

type putStreams struct{}

func (putStreams) Lookup(name string) (ingest.StreamRules, error) {
	switch name {
	case "json", "text":
		return ingest.StreamRules{Format: name, MaxEventSize: 3 << 20}, nil
	}
	return ingest.StreamRules{}, ingest.ErrNoStream
}

func startPutTarget(t *testing.T, maxRequest int) *putTarget {
	t.Helper()
	dir, err := os.MkdirTemp("", "put")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	log, err := wal.Open(t.Context(), wal.Options{Dir: filepath.Join(dir, "data")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	path := filepath.Join(dir, "s")
	server, err := ingest.New(ingest.Options{
		Type: ingest.GRPC, Network: "unix", Address: path,
		Log: ingest.FromWAL(log), Streams: putStreams{}, MaxRequestSize: maxRequest,
	})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(context.Background()) }()
	t.Cleanup(func() {
		if err := server.Stop(context.Background()); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return &putTarget{log: log, address: "unix://" + path}
}

// put runs the command and returns its output.
func (p *putTarget) put(t *testing.T, in io.Reader, args ...string) (stdout string, err error) {
	t.Helper()
	var out bytes.Buffer
	c := putcmd.New()
	c.SilenceErrors, c.SilenceUsage = true, true
	c.SetArgs(append(args, "--address", p.address))
	c.SetIn(in)
	c.SetOut(&out)
	c.SetErr(io.Discard)
	err = c.ExecuteContext(t.Context())
	return out.String(), err
}

// events returns the stream's events, each as "key data".
func (p *putTarget) events(t *testing.T, stream string) (events []string) {
	t.Helper()
	for from := uint64(1); ; {
		chunk, err := p.log.Read(stream, from, wal.AllLanes, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range chunk.Events {
			events = append(events, e.Key+" "+string(e.Data))
		}
		if chunk.End {
			return events
		}
		from = chunk.Next
	}
}

func (p *putTarget) expect(t *testing.T, stream string, want ...string) {
	t.Helper()
	if got := p.events(t, stream); !slices.Equal(got, want) {
		t.Errorf("stream %s holds %.300q, want %.300q", stream, got, want)
	}
}

func TestPut_StoresLines(t *testing.T) {
	tests := []struct {
		name, in string
		args     []string
		stdout   string
		want     []string
	}{
		{"nothing", "", nil, "stored 0 events\n", nil},
		{"a line", "a\n", nil, "stored 1 event\n", []string{"text a"}},
		{"a last line without a newline", "a\nb", nil, "stored 2 events\n", []string{"text a", "text b"}},
		{"a byte order mark", "\ufeffa\r\nb\r\n", nil, "stored 2 events\n", []string{"text a", "text b"}},
		{"a byte order mark alone", "\ufeff\na\n", nil, "stored 1 event, skipped 1 empty line\n", []string{"text a"}},
		{"lines of blanks", "a\n \t\n  \r\nb\n", nil, "stored 2 events, skipped 2 empty lines\n", []string{"text a", "text b"}},
		{"empty lines", "\na\n\r\n\nb\n", nil, "stored 2 events, skipped 3 empty lines\n", []string{"text a", "text b"}},
		{"carriage returns", "a\r\nb\r\n", nil, "stored 2 events\n", []string{"text a", "text b"}},
		{"a key", "a\n", []string{"--key", "k"}, "stored 1 event\n", []string{"k a"}},
		{"a field", `{"id":"x","n":7.50}` + "\n" + `{"id":"y"}`, []string{"--key-field", "id"}, "stored 2 events\n", []string{`x {"id":"x","n":7.50}`, `y {"id":"y"}`}},
		{"a field of an object", `{"user":{"id":"x"}}` + "\n" + `{"user.id":"y","user":1}`, []string{"--key-field", "user.id"}, "stored 2 events\n", []string{`x {"user":{"id":"x"}}`, `y {"user.id":"y","user":1}`}},
		{"a number for a key", `{"id":7.50}`, []string{"--key-field", "id"}, "stored 1 event\n", []string{`7.50 {"id":7.50}`}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			target := startPutTarget(t, 0)
			out, err := target.put(t, strings.NewReader(test.in), append(test.args, "text")...)
			if err != nil || out != test.stdout {
				t.Errorf("got %q, %v, want %q", out, err, test.stdout)
			}
			target.expect(t, "text", test.want...)
		})
	}
}

func TestPut_ReadsAFile(t *testing.T) {
	target := startPutTarget(t, 0)
	path := filepath.Join(t.TempDir(), "lines")
	if err := os.WriteFile(path, []byte("a\nb\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := target.put(t, nil, "text", path); err != nil || out != "stored 2 events\n" {
		t.Errorf("got %q, %v", out, err)
	}
	if _, err := target.put(t, nil, "text", path+"s"); err == nil {
		t.Error("got no error for a file that does not exist")
	}
	target.expect(t, "text", "text a", "text b")
}

func TestPut_ReportsTheLine(t *testing.T) {
	tests := []struct {
		name, stream, in string
		args             []string
		want             string
		stored           []string
	}{
		{"no JSON", "json", "1\n\n2\n{\"s\n4\n", nil, "line 4: data of 3 bytes is not valid JSON from byte 3 on; the stream's format is json (INVALID_ARGUMENT) (2 events stored before it)", []string{"json 1", "json 2"}},
		{"first line", "json", "x\n", nil, "line 1: data of 1 bytes is not valid JSON from byte 0 on; the stream's format is json (INVALID_ARGUMENT) (0 events stored before it)", nil},
		{"unknown stream", "nope", "x\n", nil, `line 1: no stream block matches (NOT_FOUND) (0 events stored before it)`, nil},
		{"a field that is missing", "json", "{\"id\":\"a\"}\n{}\n{\"id\":\"a\"}\n", []string{"--key-field", "id"}, `line 2: field "id" is missing (1 event stored before it)`, []string{`a {"id":"a"}`}},
		{"a field that is no key", "json", "{\"id\":[]}\n", []string{"--key-field", "id"}, `line 1: field "id" is neither a string nor a number (0 events stored before it)`, nil},
		{"a field of an object that is missing", "json", "{\"user\":{}}\n", []string{"--key-field", "user.id"}, `line 1: field "user.id" is missing (0 events stored before it)`, nil},
		{"a field of a string", "json", "{\"user\":\"id\"}\n", []string{"--key-field", "user.id"}, `line 1: the line of 13 bytes has no JSON object with field "user.id" (0 events stored before it)`, nil},
		{"an object for a field", "json", "{\"user\":{}}\n", []string{"--key-field", "user"}, `line 1: field "user" is neither a string nor a number (0 events stored before it)`, nil},
		{"no object for a field", "json", "null\n", []string{"--key-field", "id"}, `line 1: the line of 4 bytes has no JSON object with field "id" (0 events stored before it)`, nil},
		{"an empty field", "json", "{\"id\":\"\"}\n", []string{"--key-field", "id"}, "line 1: partition_key has 0 characters; 1 to 256 are allowed (INVALID_ARGUMENT) (0 events stored before it)", nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			target := startPutTarget(t, 0)
			_, err := target.put(t, strings.NewReader(test.in), append(test.args, test.stream)...)
			if err == nil || err.Error() != test.want {
				t.Errorf("got %v, want %s", err, test.want)
			}
			target.expect(t, test.stream, test.stored...)
		})
	}
}

// TestPut_ManyLines has a bad line in the middle of many requests.
func TestPut_ManyLines(t *testing.T) {
	var in strings.Builder
	var want []string
	for i := range 7000 {
		if i == 5432 {
			in.WriteString("bad\n")
		}
		fmt.Fprintln(&in, i)
		if i < 5432 {
			want = append(want, fmt.Sprint("json ", i))
		}
	}
	target := startPutTarget(t, 0)
	out, err := target.put(t, strings.NewReader(in.String()), "json")
	if err == nil || !strings.HasPrefix(err.Error(), "line 5433: ") || out != "stored 5432 events\n" {
		t.Errorf("got %q, %v, want line 5433", out, err)
	}
	target.expect(t, "json", want...)
}

func TestPut_LongLines(t *testing.T) {
	long := strings.Repeat("x", 1_260_000)
	target := startPutTarget(t, 0)
	out, err := target.put(t, strings.NewReader(strings.Repeat(long+"\n", 5)+"end"), "text")
	if err != nil || out != "stored 6 events\n" {
		t.Errorf("got %q, %v", out, err)
	}
	_, err = target.put(t, strings.NewReader("a\n"+strings.Repeat("x", 17<<20)+"\n"), "text")
	if err == nil || !strings.HasPrefix(err.Error(), "line 2: ") {
		t.Errorf("got %v for a line over every limit, want line 2", err)
	}
	target.expect(t, "text", "text "+long, "text "+long, "text "+long, "text "+long, "text "+long, "text end", "text a")
}

// TestPut_ToAListenerWithSmallRequests: a request of many lines is too large, each line is not.
func TestPut_ToAListenerWithSmallRequests(t *testing.T) {
	target := startPutTarget(t, 10_000)
	var want []string
	for i := range 300 {
		want = append(want, fmt.Sprintf("text %d %s", i, strings.Repeat("x", 100)))
	}
	in := strings.ReplaceAll(strings.Join(want, "\n"), "text ", "")
	if out, err := target.put(t, strings.NewReader(in), "text"); err != nil || out != "stored 300 events\n" {
		t.Errorf("got %q, %v", out, err)
	}
	target.expect(t, "text", want...)
}

// TestPut_SendsIncompleteBatches: a line is stored while the next one is not there yet.
func TestPut_SendsIncompleteBatches(t *testing.T) {
	target := startPutTarget(t, 0)
	in, typed := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		_, err := target.put(t, in, "text")
		ended <- err
	}()
	grown := target.log.Grown("text")
	io.WriteString(typed, "a\nb")
	<-grown
	target.expect(t, "text", "text a")
	typed.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	target.expect(t, "text", "text a", "text b")
}

func TestPut_WithoutAnAgent(t *testing.T) {
	target := &putTarget{address: "unix://" + filepath.Join(t.TempDir(), "none")}
	_, err := target.put(t, strings.NewReader("a\n"), "text")
	if err == nil || !strings.Contains(err.Error(), "UNAVAILABLE") {
		t.Errorf("got %v, want that the agent is unavailable", err)
	}
}

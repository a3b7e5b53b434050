package admin_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/agent/admin"
	"github.com/standpipe/standpipe/agent/internal/access"
	"github.com/standpipe/standpipe/agent/internal/livetail"
	"github.com/standpipe/standpipe/test/testkit"
	"github.com/standpipe/standpipe/wal"
)

// tails responds with the stream's name, and with the outcome of mayRead.
type tails struct{}

func (tails) Serve(w http.ResponseWriter, _ *http.Request, stream string, mayRead func() error) {
	fmt.Fprintf(w, "events of %s, %v", stream, mayRead())
}

func (tails) Stop() {}

// A live view contains events, so a caller on a listener with a guard needs the permission to read the stream.
func TestTail_NeedsPermission(t *testing.T) {
	folder := t.TempDir()
	for _, name := range []string{"own", "reader", "sender"} {
		testkit.Must(t, os.WriteFile(filepath.Join(folder, name), []byte(name+"\n"), 0o600))
	}
	register := access.NewRegister(hclog.NewNullLogger())
	testkit.Must(t, register.Set([]access.Identity{
		{Name: "reader", TokenFile: filepath.Join(folder, "reader"), Read: []string{"cl*"}},
		{Name: "sender", TokenFile: filepath.Join(folder, "sender")},
	}))
	guard, err := access.NewGuard(register, filepath.Join(folder, "own"), []string{"reader", "sender"})
	testkit.Must(t, err)
	open := admin.New(admin.Options{Source: &source{status: sample()}, Tail: tails{}})
	closed := admin.New(admin.Options{Source: &source{status: sample()}, Tail: tails{}, Guard: guard})
	for _, test := range []struct {
		server         *admin.Server
		token, stream  string
		header         [2]string
		want           string
		shown, unknown bool // the page has the button; the page is not shown
	}{
		{server: open, stream: "clicks", want: "200 events of clicks, <nil>", shown: true},
		{server: closed, stream: "clicks", want: "401 no token is shown", unknown: true},
		{server: closed, token: "reader", stream: "clicks", want: "200 events of clicks, <nil>", shown: true},
		{server: closed, token: "reader", stream: "orders", want: `403 identity "reader" may not read stream "orders"; its setting read allows that`, shown: true},
		{server: closed, token: "sender", stream: "clicks", want: `403 identity "sender" may not read stream "clicks"`},
		{server: closed, token: "own", stream: "clicks", want: "403 a caller with a token of the admin listener's own file may not read"},
		{server: open, stream: "clicks", header: [2]string{"Sec-Fetch-Site", "cross-site"}, want: "403 not for other pages", shown: true},
		{server: open, stream: "clicks", header: [2]string{"Origin", "http://evil.test"}, want: "403 not for other pages", shown: true},
		{server: serve(&source{status: sample()}, nil), stream: "clicks", want: "404 "},
	} {
		request := func(path string) *httptest.ResponseRecorder {
			r := httptest.NewRequest("GET", path, nil)
			if test.token != "" {
				r.SetBasicAuth("anybody", test.token)
			}
			if test.header[0] != "" {
				r.Header.Set(test.header[0], test.header[1])
			}
			w := httptest.NewRecorder()
			test.server.ServeHTTP(w, r)
			return w
		}
		w := request("/v1/streams/" + test.stream + "/tail")
		if got := fmt.Sprintf("%d %s", w.Code, w.Body); !strings.HasPrefix(got, test.want) {
			t.Errorf("%q, %s: got %s, want %s", test.token, test.stream, got, test.want)
		}
		if page := request("/"); strings.Contains(page.Body.String(), `data-tail="clicks"`) != test.shown || (page.Code == 401) != test.unknown {
			t.Errorf("%q: got the page %d, with the button: %v", test.token, page.Code, !test.shown)
		}
	}
}

// pipes is a listener of connections in memory.
type pipes struct{ conns chan net.Conn }

func (p pipes) Accept() (net.Conn, error) {
	if c, open := <-p.conns; open {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (p pipes) Close() error   { close(p.conns); return nil }
func (p pipes) Addr() net.Addr { return &net.UnixAddr{Net: "unix"} }

// quiet is a log without events.
type quiet struct{}

func (quiet) Read(string, uint64, wal.LaneSet, int) (wal.Chunk, error) {
	return wal.Chunk{Next: 1, End: true}, nil
}
func (quiet) Next(string) uint64           { return 1 }
func (quiet) Grown(string) <-chan struct{} { return nil }

// A live view goes on for longer than other requests may take, and ends with the server.
func TestTail_OutlivesTheTimeoutsOfOtherRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tail := livetail.New(quiet{}, func(string) error { return nil })
		l := pipes{make(chan net.Conn)}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() {
			ended <- admin.New(admin.Options{Source: &source{status: sample()}, Tail: tail}).Serve(ctx, l)
		}()
		near, far := net.Pipe()
		l.conns <- far
		go fmt.Fprint(near, "GET /v1/streams/s/tail HTTP/1.1\r\nHost: standpipe\r\n\r\n")
		lines := bufio.NewScanner(near)
		positions := 0
		begun := time.Now()
		for positions < 10 && lines.Scan() {
			positions += strings.Count(lines.Text(), "event: position")
		}
		if took := time.Since(begun); positions != 10 || took < 2*time.Minute {
			t.Errorf("got %d positions in %s, %v", positions, took, lines.Err())
		}
		begun = time.Now()
		stop()
		go func() {
			for lines.Scan() {
			}
			near.Close()
		}()
		if err := <-ended; err != nil || time.Since(begun) >= 2*time.Second {
			t.Errorf("got %v after %s", err, time.Since(begun))
		}
	})
}

var _ admin.Tail = (*livetail.Server)(nil)

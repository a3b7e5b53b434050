//go:build unix

package e2e_test

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// A socket is a producer's connection to the listener for lines of JSON.
type socket struct {
	t       *testing.T
	conn    *net.UnixConn
	replies *bufio.Reader
}

type reply struct {
	Offset     uint64
	Error      string
	Code       string
	RetryAfter string `json:"retry_after"`
}

func (a *agent) dialSocket() *socket {
	a.t.Helper()
	return a.dialSocketAt("events.sock")
}

func (a *agent) dialSocketAt(name string) *socket {
	a.t.Helper()
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Net: "unix", Name: a.path(name)})
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(60 * time.Second))
	return &socket{a.t, c, bufio.NewReader(c)}
}

func (s *socket) write(text string) {
	s.t.Helper()
	if _, err := s.conn.Write([]byte(text)); err != nil {
		s.t.Fatal(err)
	}
}

func (s *socket) reply() reply {
	s.t.Helper()
	line, err := s.replies.ReadBytes('\n')
	if err != nil {
		s.t.Fatalf("read reply: %v after %q", err, line)
	}
	var r reply
	if err := json.Unmarshal(line, &r); err != nil {
		s.t.Fatalf("%v in reply %q", err, line)
	}
	return r
}

func (s *socket) expectStored(line string) uint64 {
	s.t.Helper()
	s.write(line + "\n")
	r := s.reply()
	if r.Error != "" || r.Offset == 0 {
		s.t.Errorf("%.80s: got %+v, want an offset", line, r)
	}
	return r.Offset
}

func (s *socket) expectRefused(line, code string) {
	s.t.Helper()
	s.write(line + "\n")
	if r := s.reply(); r.Code != code || r.Error == "" || r.Offset != 0 {
		s.t.Errorf("%.80s: got %+v, want an error with code %s", line, r, code)
	}
}

func TestSocket_StoresEveryKindOfData(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	a := startAgent(t, "", streamBlock("s", "\n  format = \"text\"", fileDestination))
	s := a.dialSocket()
	s.expectStored(`{"stream":"s","key":"k","data":{"b": [1, 2.50, "x\u0041"],  "a":null}}`)
	s.expectStored(`{"stream":"s","key":"k","data":[1, 2]}`)
	s.expectStored(`{"stream":"s","key":"k","data":"plain \"text\" é"}`)
	s.expectStored(`{"stream":"s","key":"k","data":12.50}`)
	s.expectStored(`{"stream":"s","key":"k","data":true}`)
	s.expectStored(`{"stream":"s","key":"k","data":null}`)
	s.expectStored(`{"stream":"s","key":"k","data_base64":"` + base64.StdEncoding.EncodeToString([]byte("\x01bytes")) +
		`","time":"2026-11-02T06:00:00.5+01:00","attributes":{"site":"north"},"ack":"delivered"}`)
	a.stop()
	got := contents(t, a.path("out"))
	want := `{"b":[1,2.50,"x\u0041"],"a":null}` + "\n[1,2]\n" + `plain "text" é` + "\n12.50\ntrue\nnull\n\x01bytes\n"
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// contents joins the files that a file destination has written.
func contents(t *testing.T, folder string) string {
	t.Helper()
	var all strings.Builder
	for _, path := range deliveredFiles(t, folder) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(b)
	}
	return all.String()
}

// Each line stands alone: after every kind of bad line the next good one is stored.
func TestSocket_GoesOnAfterBadLines(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	a := startAgent(t, "", streamBlock("s", fileDestination))
	s := a.dialSocket()
	stored := uint64(0)
	for _, bad := range []struct{ line, code string }{
		{`{`, "INVALID_ARGUMENT"},
		{`not json`, "INVALID_ARGUMENT"},
		{`"a string"`, "INVALID_ARGUMENT"},
		{`{"key":"k","data":1}`, "INVALID_ARGUMENT"},
		{`{"stream":"","key":"k","data":1}`, "INVALID_ARGUMENT"},
		{`{"stream":"nowhere","key":"k","data":1}`, "NOT_FOUND"},
		{`{"stream":"s","data":1}`, "INVALID_ARGUMENT"},
		{`{"stream":"s","key":"","data":1}`, "INVALID_ARGUMENT"},
		{`{"stream":"s","key":"` + strings.Repeat("ü", 257) + `","data":1}`, "INVALID_ARGUMENT"},
		{`{"stream":"s","key":"k"}`, "INVALID_ARGUMENT"},
		{`{"stream":"s","key":"k","data":1,"data_base64":"MQ=="}`, "INVALID_ARGUMENT"},
		{`{"stream":"s","key":"k","data_base64":"!"}`, "INVALID_ARGUMENT"},
		{`{"stream":"s","key":"k","data":1,"time":"yesterday"}`, "INVALID_ARGUMENT"},
		{`{"stream":"s","key":"k","data":1,"ack":"never"}`, "INVALID_ARGUMENT"},
		{`{"stream":"s","key":"k","data":"` + filler(1000<<10) + `"}`, "INVALID_ARGUMENT"},
		{`{"stream":"s","key":"k","data":"` + filler(5<<20) + `"}`, "INVALID_ARGUMENT"},
		{"\x00\xff\xfe", "INVALID_ARGUMENT"},
	} {
		s.expectRefused(bad.line, bad.code)
		stored++
		if got := s.expectStored(`{"stream":"s","key":"k","data":{"ok":true}}`); got != stored {
			t.Errorf("after %.60q: got offset %d, want %d", bad.line, got, stored)
		}
	}
	if got := a.stream("s").Appended.Events; got != stored {
		t.Errorf("got %d stored, want %d", got, stored)
	}
}

func TestSocket_PipelinesAndCountsTheLastLine(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	a := startAgent(t, "", streamBlock("s", fileDestination))
	s := a.dialSocket()
	line := `{"stream":"s","key":"k","data":{"ok":true}}`
	go s.conn.Write([]byte(strings.Repeat(line+"\n", 500) + "bad\n" + strings.Repeat(line+"\n", 499)))
	for i := range 1000 {
		r := s.reply()
		if want := uint64(i + 1); i < 500 && r.Offset != want || i > 500 && r.Offset != want-1 {
			t.Fatalf("reply %d: got %+v, want the replies in order", i, r)
		}
		if i == 500 && r.Code != "INVALID_ARGUMENT" {
			t.Errorf("got %+v, want INVALID_ARGUMENT for the bad line", r)
		}
	}
	s.write(line)
	s.conn.CloseWrite()
	if got := s.reply().Offset; got != 1000 {
		t.Errorf("got offset %d for a last line without a newline, want 1000", got)
	}
}

package agent_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
)

// TestStreamNames_ThatNoStreamCanHave are rejected as invalid names, also if a block matches every name.
func TestStreamNames_ThatNoStreamCanHave(t *testing.T) {
	dir := t.TempDir()
	conf := parse(t, dir, `
listener "http" {
  address = "unix://DIR/http.sock"
  mode    = "0600"
}
listener "socket" {
  address = "unix://DIR/events.sock"
  mode    = "0600"
}
stream "*" {
  destination "file" "local" { path = "DIR/out/${stream}" }
}`)
	a := run(t, conf)
	client := dial(t, conf)
	const allowed = `: allowed are 1 to 128 characters of A-Z a-z 0-9 . _ - and a first one that is neither . nor -`
	for name, want := range map[string]string{
		"page views": `invalid stream name "page views"` + allowed,
		"clicks/":    `invalid stream name "clicks/"` + allowed,
		"a/b":        `invalid stream name "a/b"` + allowed,
		"..":         `invalid stream name ".."` + allowed,
		".hidden":    `invalid stream name ".hidden"` + allowed,
		"-x":         `invalid stream name "-x"` + allowed,
		"*":          `invalid stream name "*"` + allowed,
		"café":       `invalid stream name "café"` + allowed,
		"a\nb":       `invalid stream name "a\nb"` + allowed,
		"a\x00":      `invalid stream name "a\x00"` + allowed,

		strings.Repeat("x", 129): "invalid stream name a name of 129 bytes" + allowed,
	} {
		_, err := client.Append(t.Context(), &standpipev1.AppendRequest{
			Stream: name, Events: []*standpipev1.Event{{PartitionKey: "k", Data: []byte("1")}},
		})
		if s := status.Convert(err); s.Code() != codes.InvalidArgument || s.Message() != want {
			t.Errorf("grpc: got %v, want %s", err, want)
		}
		if code, got := overHTTP(t, dir+"/http.sock", name); code != http.StatusBadRequest || got != want {
			t.Errorf("http: got %d %s, want %s", code, got, want)
		}
		if code, got := overSocket(t, dir+"/events.sock", name); code != "INVALID_ARGUMENT" || got != want {
			t.Errorf("socket: got %s %s, want %s", code, got, want)
		}
	}
	if got := a.Status().Streams; len(got) != 0 {
		t.Errorf("%d streams are left behind", len(got))
	}
	if code, got := overHTTP(t, dir+"/http.sock", strings.Repeat("x", 128)); code != http.StatusOK {
		t.Errorf("the longest name: got %d %s", code, got)
	}
}

type answer struct{ Error, Code string }

func overHTTP(t *testing.T, socket, stream string) (code int, text string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
		return net.Dial("unix", socket)
	}}}
	r, err := client.Post("http://agent/v1/streams/"+url.PathEscape(stream)+"?key=k", "application/json", strings.NewReader("1"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	var a answer
	if err != nil || json.Unmarshal(body, &a) != nil {
		t.Fatalf("got %q, %v", body, err)
	}
	return r.StatusCode, a.Error
}

func overSocket(t *testing.T, socket, stream string) (code, text string) {
	t.Helper()
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	name, err := json.Marshal(stream)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, `{"stream":%s,"key":"k","data":1}`+"\n", name)
	line, err := bufio.NewReader(conn).ReadBytes('\n')
	var a answer
	if err != nil || json.Unmarshal(line, &a) != nil {
		t.Fatalf("got %q, %v", line, err)
	}
	return a.Code, a.Error
}

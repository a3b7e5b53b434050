package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Completion has the streams of the running agent, and no error without one.
func TestCompletion_KnowsStreams(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `{"streams":[{"name":"clicks","destinations":[{"name":"live"}]},{"name":"orders"}]}`)
	}))
	defer srv.Close()
	t.Setenv("STANDPIPE_ADMIN_ADDRESS", strings.TrimPrefix(srv.URL, "http://"))
	if got := runWith("__complete", "put", ""); got.code != 0 || !strings.HasPrefix(got.stdout, "clicks\norders\n") {
		t.Errorf("got %+v", got)
	}
	t.Setenv("STANDPIPE_ADMIN_ADDRESS", "127.0.0.1:1")
	if got := runWith("__complete", "put", ""); got.code != 0 || strings.Contains(got.stdout, "clicks") {
		t.Errorf("got %+v without an agent", got)
	}
	if got := runWith("__complete", "init", "--destination", "kin"); !strings.Contains(got.stdout, "kinesis\n") {
		t.Errorf("got %+v", got)
	}
}

// Each command has a page, in which no line of text begins with a control character.
func TestMan_HasAPageForEachCommand(t *testing.T) {
	dir := t.TempDir()
	if got := runWith("man", dir); got.code != 0 {
		t.Fatalf("got %+v", got)
	}
	for _, name := range []string{"standpipe", "standpipe-agent", "standpipe-put", "standpipe-wal-dump", "standpipe-doctor"} {
		text, err := os.ReadFile(filepath.Join(dir, name+".1"))
		if err != nil {
			t.Error(err)
			continue
		}
		for _, section := range []string{".TH ", ".SH NAME", ".SH SYNOPSIS", ".SH DESCRIPTION", ".SH SEE ALSO"} {
			if !strings.Contains(string(text), section) {
				t.Errorf("%s: no %s", name, section)
			}
		}
		for _, line := range strings.Split(string(text), "\n") {
			if strings.HasPrefix(line, "'") || strings.HasPrefix(line, ".") && !strings.Contains(".TH.SH.B .BR.PP.TP.nf.fi", line[:min(3, len(line))]) {
				t.Errorf("%s: got the line %q", name, line)
			}
		}
	}
}

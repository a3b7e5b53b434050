package cli_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/standpipe/standpipe/cmd/standpipe/internal/cli"
)

// A flag overrides --config, which overrides the environment, which overrides the default.
func TestDialFlags_TakeDefaultsInOrder(t *testing.T) {
	dir := t.TempDir()
	conf, tokens := filepath.Join(dir, "agent.hcl"), filepath.Join(dir, "tokens")
	text := "admin {\n  address = \"unix:///run/a.sock\"\n  auth {\n    token_file = \"" + tokens + "\"\n  }\n}\nlistener \"grpc\" {\n  address = \"0.0.0.0:9\"\n  insecure = true\n}"
	for name, text := range map[string]string{conf: text, tokens: "first\nsecond\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		listener, env string
		args          []string
		address       string
		token         string
	}{
		{"gRPC", "", nil, "127.0.0.1:7710", ""},
		{"gRPC", "127.0.0.1:8", nil, "127.0.0.1:8", ""},
		{"gRPC", "127.0.0.1:8", []string{"--config", conf}, "127.0.0.1:9", ""},
		{"gRPC", "127.0.0.1:8", []string{"--config", conf, "--address", "127.0.0.1:10"}, "127.0.0.1:10", ""},
		{"admin", "127.0.0.1:8", nil, "127.0.0.1:8", ""},
		{"admin", "", []string{"--config", conf}, "unix:///run/a.sock", "first"},
	} {
		variable := map[string]string{"gRPC": "STANDPIPE_ADDRESS", "admin": "STANDPIPE_ADMIN_ADDRESS"}[tt.listener]
		t.Setenv("STANDPIPE_ADDRESS", "")
		t.Setenv("STANDPIPE_ADMIN_ADDRESS", "")
		t.Setenv(variable, tt.env)
		var d cli.DialFlags
		c := &cobra.Command{Use: "x", RunE: func(*cobra.Command, []string) error { return nil }}
		d.Flags(c, tt.listener, "127.0.0.1:7710")
		c.SetArgs(tt.args)
		if err := c.Execute(); err != nil {
			t.Fatal(err)
		}
		o, err := d.Options()
		if err != nil || d.Address != tt.address || o.Token != tt.token {
			t.Errorf("%+v: got %q, token %q, %v", tt, d.Address, o.Token, err)
		}
	}
}

func TestHint_NamesTheLikelyReason(t *testing.T) {
	for text, part := range map[string]string{
		"http2: frame too large, note that the frame header looked like an HTTP/1.1 header": "7710",
		`malformed HTTP response "\x00\x00\x18\x04\x00"`:                                    "7712",
		"http: server gave HTTP response to HTTPS client":                                   "leave out --tls",
		"connection error: desc = error reading server preface: EOF":                        "--tls",
		"dial tcp 127.0.0.1:7710: connect: connection refused":                              "is the agent running",
	} {
		plain := errors.New(text)
		got := cli.Hint(plain)
		if !strings.Contains(got.Error(), text+"; ") || !strings.Contains(got.Error(), part) || !errors.Is(got, plain) {
			t.Errorf("got %v, want a hint with %q", got, part)
		}
	}
	for text, want := range map[string]string{
		`no response from the agent at h:1: net/http: HTTP/1.x transport connection broken: malformed HTTP response "\x00\x00"`:                                                                   "no response from the agent at h:1; a gRPC listener responds",
		`append: desc = "error reading server preface: http2: failed reading the frame payload: http2: frame too large, note that the frame header looked like an HTTP/1.1 header" (UNAVAILABLE)`: `append: desc = "error reading server preface" (UNAVAILABLE); an HTTP listener responds`,
	} {
		if got := cli.Hint(errors.New(text)).Error(); !strings.HasPrefix(got, want) {
			t.Errorf("got %q, want %q without the bytes of the other protocol", got, want)
		}
	}
	if other := errors.New("the log is full"); cli.Hint(other) != other || cli.Hint(nil) != nil {
		t.Error("an error without a known reason has a hint")
	}
}

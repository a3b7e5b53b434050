package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/standpipe/standpipe/client"
	"github.com/standpipe/standpipe/cmd/standpipe/internal/cli"
)

// options parses a command line of dial flags.
func options(t *testing.T, args ...string) (o client.Options, err error) {
	t.Helper()
	var d cli.DialFlags
	c := &cobra.Command{Use: "x", SilenceErrors: true, SilenceUsage: true, RunE: func(*cobra.Command, []string) error {
		o, err = d.Options()
		return nil
	}}
	d.Flags(c, "admin", cli.DefaultAdminAddress)
	c.SetArgs(args)
	if fault := c.Execute(); fault != nil {
		return o, fault
	}
	return o, err
}

func TestDialFlags_Faults(t *testing.T) {
	file := func(text string) string {
		path := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for want, args := range map[string][]string{
		"read token: open":                  {"--token-file", "/does/not/exist"},
		"has to hold one token; got 4 by":   {"--token-file", file("a b\n")},
		"has to hold one token; got 0 by":   {"--token-file", file("")},
		"read certificates: open":           {"--ca-file", "/does/not/exist"},
		"holds none in its 4 bytes":         {"--ca-file", file("none")},
		"read certificate: ":                {"--cert-file", file("none"), "--key-file", file("none")},
		"missing [key-file]":                {"--cert-file", file("none")},
		"want host:port or unix:///path":    {"--address", "nowhere"},
		"an absolute path":                  {"--address", "unix://here"},
		"a token without TLS is for this h": {"--address", "example.com:1", "--token-file", file("t")},
	} {
		if _, err := options(t, args...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", args, err, want)
		}
	}
	o, err := options(t, "--tls", "--address", "example.com:1", "--token-file", file("secret\n"))
	if err != nil || o.Token != "secret" || o.TLS == nil || o.TLS.ServerName != "example.com" {
		t.Errorf("got %+v, %v", o, err)
	}
	if o, err := options(t); err != nil || o.TLS != nil || o.Token != "" {
		t.Errorf("no flags: got %+v, %v", o, err)
	}
}

func TestTable_BreaksNotesAtTheWidth(t *testing.T) {
	var table cli.Table
	table.Note("key ", strings.Repeat("word ", 40)+"\x1b[2J")
	for line := range strings.Lines(table.String()) {
		if len(line) > cli.TextWidth+1 || !strings.HasPrefix(line, "key ") && !strings.HasPrefix(line, "    ") || strings.Contains(line, "\x1b") {
			t.Errorf("got the line %q", line)
		}
	}
	for want, got := range map[string]string{
		"1 event": cli.Number(1, "event"), "2 events": cli.Number(uint64(2), "event"), "1,234": cli.Short(1234, 5), "1.2M": cli.Short(1234567, 8),
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

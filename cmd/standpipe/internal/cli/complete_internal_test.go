package cli

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

// The names are those of the agent at the address of the command, or of the environment for a command with another listener.
func TestCompletion_KnowsStreamsAndDestinations(t *testing.T) {
	defer func(before time.Duration) { completionTimeout = before }(completionTimeout)
	completionTimeout = time.Minute
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `{"streams":[{"name":"clicks","destinations":[{"name":"live"},{"name":"lake"}]},{"name":"orders","destinations":[{"name":"bus"}]}]}`)
	}))
	defer srv.Close()
	address := strings.TrimPrefix(srv.URL, "http://")
	for _, tt := range []struct {
		command  string
		flags    []string
		env      string
		args     []string
		complete func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective)
		want     []string
	}{
		{"put", []string{"--address", "127.0.0.1:1"}, address, nil, StreamThenFile, []string{"clicks", "orders"}},
		{"put", nil, address, []string{"clicks"}, StreamThenFile, nil},
		{"dead", []string{"--address", address}, "127.0.0.1:1", nil, Streams, []string{"clicks", "orders"}},
		{"dead", []string{"--address", address, "--stream", "clicks"}, "", nil, Destinations, []string{"live", "lake"}},
		{"pause", nil, address, nil, StreamThenDestination, []string{"clicks", "orders"}},
		{"pause", nil, address, []string{"orders"}, StreamThenDestination, []string{"bus"}},
	} {
		t.Setenv(adminVariable, tt.env)
		var d DialFlags
		c := &cobra.Command{Use: tt.command, RunE: func(*cobra.Command, []string) error { return nil }}
		d.Flags(c, "admin", DefaultAdminAddress)
		c.Flags().String("stream", "", "")
		c.SetArgs(tt.flags)
		if err := c.Execute(); err != nil {
			t.Fatal(err)
		}
		if got, _ := tt.complete(c, tt.args, ""); !slices.Equal(got, tt.want) {
			t.Errorf("%s %q with %q: got %q, want %q", tt.command, tt.flags, tt.args, got, tt.want)
		}
	}
}

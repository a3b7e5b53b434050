package cli

import (
	"context"
	"net/http"
	"time"

	"github.com/spf13/cobra"
)

// completionTimeout bounds the wait of a shell for the agent. A test sets a longer one.
var completionTimeout = 500 * time.Millisecond

// Streams completes the first argument of a command, or the value of a flag, with the names of the agent's streams.
func Streams(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var names []string
	for _, s := range completable(c) {
		names = append(names, s.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// Destinations completes with the names of the agent's destinations: those of the stream in the first argument or in --stream, or
// else all.
func Destinations(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	stream := ""
	if f := c.Flags().Lookup("stream"); f != nil {
		stream = f.Value.String()
	}
	if len(args) > 0 {
		stream = args[0]
	}
	var names []string
	for _, s := range completable(c) {
		if stream != "" && s.Name != stream {
			continue
		}
		for _, d := range s.Destinations {
			names = append(names, d.Name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// StreamThenFile completes a stream, and then a file.
func StreamThenFile(c *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	return Streams(c, args, toComplete)
}

// StreamThenDestination completes a stream, and then one of its destinations.
func StreamThenDestination(c *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	switch len(args) {
	case 0:
		return Streams(c, args, toComplete)
	case 1:
		return Destinations(c, args, toComplete)
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

// ConfigFile completes the name of a configuration file.
func ConfigFile(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return []string{"hcl"}, cobra.ShellCompDirectiveFilterFileExt
}

// streamNames is the part of /v1/status that completion needs.
type streamNames struct {
	Name         string `json:"name"`
	Destinations []struct {
		Name string `json:"name"`
	} `json:"destinations"`
}

// completable returns the streams of the agent at the address of c's flags. It returns none without a response.
func completable(c *cobra.Command) []streamNames {
	d := DialFlags{Address: DefaultAdminAddress, listener: "admin", changed: c.Flags().Changed}
	for name, to := range map[string]*string{"config": &d.config, "token-file": &d.tokenFile, "ca-file": &d.caFile, "address": &d.Address} {
		f := c.Flags().Lookup(name)
		if f != nil && f.Changed {
			*to = f.Value.String()
		}
	}
	if c.Name() == "put" { // its --address is of another listener
		d.Address, d.changed = DefaultAdminAddress, func(string) bool { return false }
	}
	admin, err := d.Admin()
	if err != nil {
		return nil
	}
	defer admin.Close()
	ctx, cancel := context.WithTimeout(context.Background(), completionTimeout)
	defer cancel()
	var status struct {
		Streams []streamNames `json:"streams"`
	}
	if err := admin.CallJSON(ctx, http.MethodGet, "/v1/status", nil, &status); err != nil {
		return nil
	}
	return status.Streams
}

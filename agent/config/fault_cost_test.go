package config_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/standpipe/standpipe/agent/config"
)

// faultsOf parses what is wrong and returns each fault without the file's name.
func faultsOf(t *testing.T, src string) []string {
	t.Helper()
	_, err := config.Parse([]byte(src), "agent.hcl")
	var faults *config.FaultsError
	if !errors.As(err, &faults) {
		t.Fatalf("got %v, want a FaultsError", err)
	}
	return strings.Split(strings.ReplaceAll(err.Error(), "agent.hcl:", ""), "\n")
}

func TestFaultsOfWhatShippingCosts(t *testing.T) {
	for _, tt := range []struct {
		name, src, want string
	}{
		{"an order that Firehose has not", in(`"firehose" "f"`, `delivery_stream = "a"`, `order = "strict"`),
			`4:9: order: "strict" is unknown; allowed is key or none`},
		{"a flag in quotes", in(`"firehose" "f"`, `delivery_stream = "a"`, `one_key_per_record = "yes"`),
			`4:22: one_key_per_record: "yes" is neither true nor false; allowed is true or false, without quotes`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := faultsOf(t, tt.src); len(got) != 1 || got[0] != tt.want {
				t.Errorf("got  %s\nwant %s", strings.Join(got, "\n     "), tt.want)
			}
		})
	}
}

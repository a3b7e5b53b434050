package destination_test

import (
	"slices"
	"testing"

	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/agent/internal/destination"
)

// Each type that a file may have has a sink, and no other is listed.
func TestTypes_AreTheConfigurations(t *testing.T) {
	want := slices.Sorted(slices.Values(config.DestinationTypes()))
	if got := destination.Types(); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

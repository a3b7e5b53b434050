package destination

import (
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/wal"
)

// No sink reads the state that a sink of another type stored in the cursor.
func TestSinkState_BelongsToAType(t *testing.T) {
	log, err := wal.Open(t.Context(), wal.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cursor, err := log.OpenCursor("s", "d")
	if err != nil {
		t.Fatal(err)
	}
	ranges := TaggedCursor{cursor, Discard}
	if got := ranges.State(); got != nil {
		t.Errorf("got state %q at first, want none", got)
	}
	if err := ranges.Settle(wal.Settlement{State: []byte("sealed\x00")}); err != nil {
		t.Fatal(err)
	}
	if got := ranges.State(); string(got) != "sealed\x00" {
		t.Errorf("got state %q, want the one that was stored", got)
	}
	if got := (TaggedCursor{cursor, "kinesis"}).State(); got != nil {
		t.Errorf("got state %q for another type, want none", got)
	}
	spec := Spec{Destination: config.Destination{Type: "file"}, EventStream: "s", Cursor: cursor, Logger: hclog.NewNullLogger()}
	endStateOfOthers(&spec, true)
	if got := cursor.State(); len(got) > 0 {
		t.Errorf("got state %q for a file destination, want none", got)
	}
	cursor.Settle(wal.Settlement{State: []byte(`{"root":"/nowhere"}`)})
	if got := ranges.State(); got != nil {
		t.Errorf("got state %q of a file destination, want none", got)
	}
}

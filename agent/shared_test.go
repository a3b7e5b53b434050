package agent_test

import (
	"testing"
)

// Each stream has a cursor of its own at a destination that several streams share, also through a reload.
func TestSharedDestination_DeliversEachStreamOnItsOwn(t *testing.T) {
	dir := t.TempDir()
	const archive = `
destination "file" "archive" {
  path = "DIR/out"
  batch { max_delay = "10ms" }
}
stream "a" { destinations = ["archive"] }
stream "b" { destinations = ["archive"] }`
	conf := parse(t, dir, archive)
	a := run(t, conf)
	client := dial(t, conf)
	send(t, client, "a", 3)
	send(t, client, "b", 2)
	delivered := func(ofA, ofB uint64) func() bool {
		return func() bool {
			return destination(t, a, "a", "archive").Delivered.Events == ofA && destination(t, a, "b", "archive").Delivered.Events == ofB
		}
	}
	until(t, "both streams are delivered", delivered(3, 2))

	if err := a.Reload(parse(t, dir, archive+"\nstream \"c\" { destinations = [\"archive\"] }")); err != nil {
		t.Fatal(err)
	}
	send(t, client, "a", 1)
	send(t, client, "c", 5)
	until(t, "the old and the new stream are delivered", func() bool {
		return delivered(4, 2)() && destination(t, a, "c", "archive").Delivered.Events == 5
	})
}

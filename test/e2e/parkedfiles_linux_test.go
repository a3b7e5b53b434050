package e2e_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/standpipe/standpipe/test/testkit"
)

// An agent is killed while a file destination has an open file, and starts without the destination while the disk of the
// file hangs. Other destinations deliver meanwhile. The destination that comes back waits until the file is finished, and
// each event is in a file once.
func TestParked_DestinationComesBackWhileItsDiskHangs(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	d, err := testkit.NewDisk(t, t.TempDir(), 64<<20, "mkfs.ext4")
	if err == nil {
		err = d.Attach()
	}
	if err != nil {
		testkit.NotTested(t, "a disk that hangs, since no file system could be mounted", err)
		return
	}
	sent, folder := readings(1, 3), filepath.Join(d.Mount, "out")
	config := streamBlock("s", fmt.Sprintf(`
  destination "file" "back" {
    path = %q
    batch { max_delay = "20ms" }
  }`, folder))
	a := startAgent(t, "", config)
	send(t, a.dial(), "s", sent[:1])
	a.waitDelivered("s", 1, time.Minute)
	a.waitCalm("s", time.Second) // longer than a checkpoint takes
	a.kill()

	testkit.Must(t, testkit.Run("fsfreeze", "--freeze", d.Mount))
	thawed := false
	thaw := func() {
		if !thawed {
			thawed = true
			testkit.Must(t, testkit.Run("fsfreeze", "--unfreeze", d.Mount))
		}
	}
	t.Cleanup(thaw)
	a.configure(streamBlock("other", fileDestination))
	a.start()
	send(t, a.dial(), "other", sent[1:2])
	a.waitDelivered("other", 1, time.Minute)
	a.reconfigure(t, "", config)
	a.waitState("s", "waiting", "not finished")
	send(t, a.dial(), "s", sent[2:])
	thaw()
	a.waitDelivered("s", 2, time.Minute)
	a.stop()
	if got, want := delivered(t, folder, "sensor", true), []event{sent[0], sent[2]}; !slices.Equal(got, want) {
		t.Errorf("got %v in the files, want %v", got, want)
	}
}

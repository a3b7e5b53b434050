package access_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/standpipe/standpipe/agent/internal/access"
	"github.com/standpipe/standpipe/test/testkit"
)

// connectTo is the variable that makes the test's program connect to a socket, and do nothing else.
const connectTo = "STANDPIPE_TEST_CONNECT"

func TestMain(m *testing.M) {
	path := os.Getenv(connectTo)
	if path == "" {
		os.Exit(m.Run())
	}
	conn, err := net.Dial("unix", path)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	conn.Read(make([]byte, 1)) // until the test has looked
}

// visitor is the peer that a process of this program is, started with these credentials; nil: with its own.
func visitor(t *testing.T, as *syscall.Credential) (*access.Peer, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), connectTo+"="+path)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() {
		ended <- cmd.Wait()
		l.Close() // else a process that could not connect is waited for
	}()
	conn, err := l.Accept()
	if err != nil {
		t.Fatalf("%v: %v", err, <-ended)
	}
	peer := access.PeerOf(conn)
	conn.Close()
	return peer, <-ended
}

func TestPeer_Groups(t *testing.T) {
	own, err := os.Getgroups()
	if err != nil {
		t.Fatal(err)
	}
	peer, err := visitor(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	if peer.UID != uint32(os.Getuid()) || peer.GID != uint32(os.Getgid()) || len(peer.Groups) != len(own) {
		t.Errorf("got %+v, want the groups %v", peer, own)
	}
	for _, n := range []int{0, 2, 1000} { // the most that there can be are 65,536
		as := &syscall.Credential{Uid: uint32(os.Getuid()), Gid: uint32(os.Getgid())}
		for i := range n {
			as.Groups = append(as.Groups, uint32(70_000+i))
		}
		peer, err := visitor(t, as)
		if errors.Is(err, unix.EPERM) {
			testkit.NotTested(t, "a process with supplementary groups, since this one may not start it", err)
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(peer.Groups)
		if peer.GID != as.Gid || !slices.Equal(peer.Groups, as.Groups) {
			t.Errorf("%d groups: got %d and the group %d", n, len(peer.Groups), peer.GID)
		}
		if n == 2 {
			expectKnownByGroup(t, peer)
		}
	}
}

func expectKnownByGroup(t *testing.T, peer *access.Peer) {
	t.Helper()
	r, _ := register(t, access.Identity{Name: "wheel", GIDs: []int64{70_001}})
	if got := who(guard(t, r, "", nil), access.Shown{Peer: peer}); got != "<wheel>" {
		t.Errorf("got %s", got)
	}
}

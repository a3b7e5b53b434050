package ingest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
)

// Listen binds an address. The file of a unix socket gets mode, unless that is 0, and never wider permissions; it is
// removed when the listener is closed. Its folder is created, since /run is empty after a boot. A file that another
// process has left behind is replaced.
func Listen(network, address string, mode os.FileMode) (net.Listener, error) {
	if network == "unix" {
		if err := os.MkdirAll(filepath.Dir(address), 0o755); err != nil {
			return nil, fmt.Errorf("listen on %s: %w", address, err)
		}
		if err := removeStale(address); err != nil {
			return nil, fmt.Errorf("listen on %s: %w", address, err)
		}
	}
	if network != "unix" || mode == 0 {
		return net.Listen(network, address)
	}
	how := net.ListenConfig{Control: narrow(mode)}
	l, err := how.Listen(context.Background(), network, address)
	if err != nil {
		return nil, err
	}
	// The umask may have taken more from it than mode does.
	if err := os.Chmod(address, mode); err != nil {
		l.Close()
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	return l, nil
}

// removeStale removes the file of a socket without a listener, and no other file.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return errors.New("the path is taken by a file that is no socket")
	}
	conn, err := net.Dial("unix", path)
	if err == nil {
		conn.Close()
		return errors.New("another process answers on this socket")
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return err
	}
	return os.Remove(path)
}

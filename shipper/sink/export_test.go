package sink

import (
	"net/http"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// WholeReply is the HTTP client that goes under the SDK, over any transport.
func WholeReply(t http.RoundTripper) aws.HTTPClient {
	return wholeReply{&http.Client{Transport: t}}
}

// FailDisk makes the calls that change f's files fail with the error that next returns, if it
// does; a failing write has then written a half.
func (f *File) FailDisk(next func(call string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.disk.write = func(file *os.File, b []byte) (int, error) {
		if err := next("write"); err != nil {
			n, _ := file.Write(b[:len(b)/2])
			return n, err
		}
		return file.Write(b)
	}
	f.disk.syncDir = func(dir string) error {
		if err := next("sync directory"); err != nil {
			return err
		}
		return syncDir(dir)
	}
	f.disk.truncate = func(file *os.File, size int64) error {
		if err := next("truncate"); err != nil {
			return err
		}
		return file.Truncate(size)
	}
	f.disk.sync = func(file *os.File) error {
		if err := next("sync"); err != nil {
			return err
		}
		return fdatasync(file)
	}
}

// OpenFileOn opens a File on a disk of which the test makes these calls.
func OpenFileOn(o FileOptions, truncate func(*os.File, int64) error, sync func(*os.File) error, syncDirectory func(string) error) (*File, error) {
	return openFile(o, disk{write: realDisk.write, truncate: truncate, sync: sync, syncDir: syncDirectory})
}

// Roll ends the current file, as its age would.
func (f *File) Roll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rollLocked()
}

// Crash ends f as a kill would: nothing is finished or renamed.
func (f *File) Crash() {
	f.closing.Do(func() {
		close(f.stop)
		<-f.done
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.current != nil {
			f.current.file.Close()
		}
	})
}

// KnownCode tells whether classify has a class for a service's code, whatever the status.
func KnownCode(code string) bool {
	_, known := classes[code]
	return known
}

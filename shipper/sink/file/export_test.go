package file

import "os"

// FailDisk makes the calls that change f's files fail with the error that next returns, if any. A failing write has
// then written half of its bytes.
func (f *Sink) FailDisk(next func(call string) error) {
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

// OpenOn opens a Sink on a disk with these calls.
func OpenOn(o Options, truncate func(*os.File, int64) error, sync func(*os.File) error, syncDirectory func(string) error) (*Sink, error) {
	return open(o, disk{write: realDisk.write, truncate: truncate, sync: sync, syncDir: syncDirectory})
}

// Roll ends the current file, as when it reaches its age.
func (f *Sink) Roll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rollLocked()
}

// Crash ends f like a kill: nothing is finished or renamed.
func (f *Sink) Crash() {
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

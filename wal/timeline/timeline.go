// Package timeline corrects times that were taken before the clock of the host was set.
//
// # Contract
//
// A timeline is the clock of one boot as it was before it was set. It runs with the clock that counts from the start
// of the boot, so its times are right relative to each other, and all wrong by the same duration. An event whose time
// the agent took from a timeline keeps the timeline's number beside its time. Set stores that duration, once it is known.
// From then on Correct corrects each such event when it is read. The bytes of the log stay as they are.
//
// A Table is stored in the file clock.json of the data directory. Begin syncs a new timeline before it returns the number, so
// no event has the number of a timeline that a crash has removed. Numbers are drawn at random: if the file is lost, no
// later timeline gets the number of an earlier one, and the events keep their wrong times and their mark.
//
// # Assumptions
//
// The ID of a boot differs from those of all other boots, also of other hosts. One process writes the file: the holder of
// the lock of the data directory. Others read it.
//
// # Limits
//
// The times of a boot whose clock was never set stay wrong. The file has the latest 200 timelines.
package timeline

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/standpipe/standpipe/wal/internal/disk"
	"github.com/standpipe/standpipe/wal/internal/segment"
)

// Name is the name of the file in the data directory.
const Name = "clock.json"

// mostLines bounds the file.
const mostLines = 200

// Stamp is a time that the agent took. Timeline is 0 if the clock was set.
type Stamp struct {
	At       int64 // Unix nanoseconds
	Timeline uint32
}

// On sets the time of an event that has none.
func (s Stamp) On(e *segment.Event) {
	if e.Time == 0 {
		e.Time, e.Timeline = s.At, s.Timeline
	}
}

// content is the content of the file.
type content struct {
	Lines []line `json:"timelines,omitempty"`
	// Synchronized is the ID of the latest boot in which the kernel's clock was synchronized.
	Synchronized string `json:"synchronized,omitempty"`
}

// line is one timeline. Its times are Unix nanoseconds.
type line struct {
	Number uint32 `json:"number"`
	Boot   string `json:"boot"`
	Zero   int64  `json:"zero"`            // the time on it when the boot started
	From   int64  `json:"from"`            // no time that was taken from it is earlier
	Until  int64  `json:"until,omitempty"` // nor later; 0: it is in use
	Off    *int64 `json:"off,omitempty"`   // nanoseconds to add to its times; nil: unknown

	// Written is the time of the last write to the log before the timeline began, by the clock of the host.
	Written time.Time `json:"written,omitzero"`
}

// Table has the timelines of a log. All methods may be called from any goroutine.
type Table struct {
	path string

	mu      sync.Mutex // held while the file is written
	unsaved bool       // guarded by mu: the file lacks the last change
	content atomic.Pointer[content]
}

// New returns the table of a data directory. It is empty until Load.
func New(dir string) *Table {
	t := &Table{path: filepath.Join(dir, Name)}
	t.content.Store(new(content))
	return t
}

// Load reads the file. A missing one is no error. After an error the table is empty.
func (t *Table) Load() error {
	b, err := os.ReadFile(t.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	c := new(content)
	if err == nil {
		err = json.Unmarshal(b, c)
	}
	if err != nil {
		return fmt.Errorf("read %s of %d bytes: %w", t.path, len(b), err)
	}
	t.content.Store(c)
	return nil
}

// SetAside renames a file that Load cannot read, so that nothing replaces it.
func (t *Table) SetAside() error { return os.Rename(t.path, t.path+".corrupt") }

// Begin returns the timeline of a boot, and begins it if the table has none that is in use. The clock had the time zero when the
// boot started, and has the time now. The last write to the log before was at written. Begin returns the zero of the timeline,
// which an earlier process may have begun.
func (t *Table) Begin(boot string, zero, now, written time.Time) (number uint32, lineZero time.Time, err error) {
	err = t.change(func(c *content) bool {
		for i := range c.Lines {
			if l := &c.Lines[i]; l.Boot == boot && l.Until == 0 {
				number, lineZero = l.Number, time.Unix(0, l.Zero)
				return false
			}
		}
		number, lineZero = 1+rand.Uint32N(1<<32-1), zero
		c.Lines = append(c.Lines, line{Number: number, Boot: boot, Zero: zero.UnixNano(), From: now.UnixNano(), Written: written})
		return true
	})
	return number, lineZero, err
}

// Written returns the time of the last write to the log before the boot's timeline began; zero: none is in use, or there was no
// log. Later writes may have given the files of the log an earlier time.
func (t *Table) Written(boot string) (written time.Time) {
	for _, l := range t.content.Load().Lines {
		if l.Boot == boot && l.Until == 0 {
			written = l.Written
		}
	}
	return written
}

// Set stores by how much the times of a boot's timeline are wrong. zero is the right time at the start of the boot, and now the
// time since then. Set has its effect on this process also if it cannot write the file.
func (t *Table) Set(boot string, zero time.Time, now time.Duration) error {
	return t.change(func(c *content) (changed bool) {
		for i := range c.Lines {
			if l := &c.Lines[i]; l.Boot == boot && l.Until == 0 {
				off := zero.UnixNano() - l.Zero
				l.Off, l.Until = &off, l.Zero+int64(now)
				changed = true
			}
		}
		return changed
	})
}

// End ends the timelines of all other boots. No event was stored after the time until, by the clock of the host.
func (t *Table) End(boot string, until time.Time) error {
	return t.change(func(c *content) (changed bool) {
		for i := range c.Lines {
			if l := &c.Lines[i]; l.Boot != boot && l.Until == 0 {
				l.Until = max(until.UnixNano(), l.From+1)
				changed = true
			}
		}
		return changed
	})
}

// Synchronized returns the ID of the latest boot that NoteSynchronized noted.
func (t *Table) Synchronized() string { return t.content.Load().Synchronized }

// NoteSynchronized stores that the kernel's clock was synchronized in a boot.
func (t *Table) NoteSynchronized(boot string) error {
	return t.change(func(c *content) bool {
		changed := c.Synchronized != boot
		c.Synchronized = boot
		return changed
	})
}

// change applies f, and writes the file if f returns true or the last write has failed.
func (t *Table) change(f func(c *content) (changed bool)) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := t.content.Load()
	c := &content{Lines: append([]line(nil), before.Lines...), Synchronized: before.Synchronized}
	if !f(c) && !t.unsaved {
		return nil
	}
	c.Lines = c.Lines[max(0, len(c.Lines)-mostLines):]
	t.content.Store(c)
	t.unsaved = true
	b, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("write %s: %w", t.path, err)
	}
	if err := t.write(append(b, '\n')); err != nil {
		return err
	}
	t.unsaved = false
	return nil
}

// write replaces the file, and syncs it and its folder.
func (t *Table) write(b []byte) (err error) {
	unfinished := t.path + ".new"
	f, err := os.OpenFile(unfinished, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(unfinished))
	}
	if err := os.Rename(unfinished, t.path); err != nil {
		return err
	}
	return disk.SyncDir(filepath.Dir(t.path))
}

// Correct corrects the time of an event that has a timeline. Timeline stays if the correction is not known.
func (t *Table) Correct(e *segment.Event) {
	if e.Timeline == 0 {
		return
	}
	for _, l := range t.content.Load().Lines {
		if l.Number == e.Timeline && l.Off != nil {
			e.Time, e.Timeline = e.Time+*l.Off, 0
			return
		}
	}
}

// Time corrects the time of a block, which has no mark. known is false for a time on a timeline whose correction is not known. It
// is false too if the correction goes back: the clock was ahead, and has had the same times again since. A time of another boot
// may be on a timeline by chance, if the clock was behind by less than the time between the boots. It becomes a later one.
func (t *Table) Time(at time.Time) (right time.Time, known bool) {
	n := at.UnixNano()
	for _, l := range t.content.Load().Lines {
		if n < l.From || l.Until != 0 && n > l.Until {
			continue
		}
		if l.Off == nil {
			return at, false
		}
		return at.Add(time.Duration(*l.Off)), *l.Off >= 0
	}
	return at, true
}

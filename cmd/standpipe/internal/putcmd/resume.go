package putcmd

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"path/filepath"
)

// progress is the content of the state file of --resume. The lines of a file are numbered events of one producer, so lines
// that were sent but not acknowledged before an interruption may be sent again: the agent stores each once. The state file
// may therefore be older than the last acknowledgement.
type progress struct {
	Stream   string `json:"stream"`
	Producer string `json:"producer"` // ID
	Lines    int    `json:"lines"`    // that are stored
	SHA256   string `json:"sha256"`   // of those lines
}

// stateFile is the state file of a run with --resume.
type stateFile struct {
	name string
	now  progress
}

// stateName returns the name of the state file for an input file.
func stateName(file string) string { return file + ".put-state" }

// openState reads the state of an earlier run, or begins one. It writes the file before any line is sent.
func openState(file, stream string) (*stateFile, error) {
	s := &stateFile{name: stateName(file)}
	text, err := os.ReadFile(s.name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		s.now = progress{Stream: stream, Producer: "put-" + rand.Text(), SHA256: hex.EncodeToString(sha256.New().Sum(nil))}
		return s, s.write()
	case err != nil:
		return nil, fmt.Errorf("read state of --resume: %w", err)
	}
	if err := json.Unmarshal(text, &s.now); err != nil || s.now.Producer == "" || s.now.Lines < 0 {
		return nil, fmt.Errorf("read state of --resume: %s with %d bytes is no state of put; remove it to begin again", s.name, len(text))
	}
	if s.now.Stream != stream {
		return nil, fmt.Errorf("%s is of stream %q, not %q; remove it to send the file to another stream", s.name, s.now.Stream, stream)
	}
	return s, nil
}

// write replaces the state file in one step.
func (s *stateFile) write() error {
	text, err := json.Marshal(s.now)
	if err != nil {
		return err
	}
	temporary, err := os.CreateTemp(filepath.Dir(s.name), filepath.Base(s.name)+"-*")
	if err != nil {
		return fmt.Errorf("write state of --resume: %w", err)
	}
	_, err = temporary.Write(append(text, '\n'))
	if err = errors.Join(err, temporary.Close()); err == nil {
		err = os.Rename(temporary.Name(), s.name)
	}
	if err != nil {
		os.Remove(temporary.Name())
		return fmt.Errorf("write state of --resume: %w", err)
	}
	return nil
}

// note records that the lines up to b's last are stored.
func (s *stateFile) note(b *batch) {
	s.now.Lines, s.now.SHA256 = b.lines[len(b.lines)-1], b.sum
}

// prefix compares the lines that are skipped with those that were stored.
type prefix struct {
	hash hash.Hash // of the lines so far; nil: without --resume
	skip int       // lines
	want string    // the hash after skip lines
}

func newPrefix(s *stateFile) prefix {
	if s == nil {
		return prefix{}
	}
	return prefix{hash: sha256.New(), skip: s.now.Lines, want: s.now.SHA256}
}

// add counts a line. It reports whether the line is already stored, and an error if the stored lines have changed.
func (p *prefix) add(line []byte, number int) (skipped bool, err error) {
	if p.hash == nil {
		return false, nil
	}
	p.hash.Write(bytes.TrimRight(line, "\r\n"))
	p.hash.Write([]byte{'\n'})
	if number < p.skip {
		return true, nil
	}
	if number == p.skip && p.sum() != p.want {
		return true, errChanged
	}
	return number <= p.skip, nil
}

// errChanged: the input is another file, or was changed. Its line numbers do not name the same events any more.
var errChanged = errors.New("the lines up to here are not those that were stored; remove the state file to send the file from its beginning")

func (p *prefix) sum() string {
	if p.hash == nil {
		return ""
	}
	return hex.EncodeToString(p.hash.Sum(nil))
}

package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// sums removes the programs, and writes SHA256SUMS as sha256sum(1) reads it.
func (r *release) sums() error {
	if err := os.RemoveAll(filepath.Join(r.out, programsFolder)); err != nil {
		return err
	}
	entries, err := os.ReadDir(r.out)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	for _, e := range entries { // sorted
		data, readErr := os.ReadFile(filepath.Join(r.out, e.Name()))
		err = errors.Join(err, readErr)
		fmt.Fprintf(&text, "%x  %s\n", sha256.Sum256(data), e.Name())
	}
	return errors.Join(err, os.WriteFile(filepath.Join(r.out, "SHA256SUMS"), text.Bytes(), 0o644))
}

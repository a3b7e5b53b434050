//go:build !linux

package sink

import "os"

func fdatasync(f *os.File) error { return f.Sync() }

func renameNew(old, path string) error { return renameUnlessThere(old, path) }

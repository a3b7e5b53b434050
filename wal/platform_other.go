//go:build !linux

package wal

import (
	"errors"
	"os"
)

// allocateFile is fallocate, which only Linux has: elsewhere a full disk is met by the write itself.
func allocateFile(*os.File, int64, int64) error { return errors.ErrUnsupported }

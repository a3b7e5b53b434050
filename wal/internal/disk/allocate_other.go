//go:build !linux

package disk

import (
	"errors"
	"os"
)

// Allocate returns errors.ErrUnsupported: only Linux has fallocate. Elsewhere a full disk fails the write itself.
func Allocate(*os.File, int64, int64) error { return errors.ErrUnsupported }

// OverwritesInPlace returns false: Allocate allocates no disk blocks.
func OverwritesInPlace(*os.File) bool { return false }

//go:build !windows

package cli

import "os"

// sequences reports whether the terminal interprets control sequences.
func sequences(*os.File) bool { return true }

//go:build !unix

package main

import "os"

// lockFolder does nothing on systems without locks of folders.
func lockFolder(*os.File) error { return nil }

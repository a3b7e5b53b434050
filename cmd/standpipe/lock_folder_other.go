//go:build !unix

package main

import "os"

// lockFolder does nothing where a folder can't be locked.
func lockFolder(*os.File) error { return nil }

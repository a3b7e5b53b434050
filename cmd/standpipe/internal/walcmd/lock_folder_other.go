//go:build !unix

package walcmd

import "os"

// lockFolder does nothing on systems without locks of folders.
func lockFolder(*os.File) error { return nil }

//go:build !unix

package stdout

import (
	"io"
	"os"
)

func standardOutput() io.Writer { return os.Stdout }

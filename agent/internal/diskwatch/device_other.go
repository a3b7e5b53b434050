//go:build !linux

package diskwatch

// deviceWritten returns 0: the bytes are unknown.
func deviceWritten(string) int64 { return 0 }

package testkit

import (
	"errors"
	"os"
	"testing"
)

// FileLength returns the length of a file in bytes.
func FileLength(t testing.TB, path string) int64 {
	t.Helper()
	st, err := os.Stat(path)
	Must(t, err)
	return st.Size()
}

// Overwrite writes data into a file at an offset. It leaves the file's length as it is.
func Overwrite(t testing.TB, path string, at int64, data []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	Must(t, err)
	_, err = f.WriteAt(data[:min(int64(len(data)), FileLength(t, path)-at)], at)
	Must(t, errors.Join(err, f.Close()))
}

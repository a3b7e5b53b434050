// Package folder compares the folders of file destinations, with symbolic links resolved: one folder, or one inside the other's
// hour folders. It reads the file system and changes nothing.
package folder

import (
	"path/filepath"
	"regexp"
	"strings"

	"github.com/standpipe/standpipe/agent/config/internal/pattern"
)

// hourFolder matches the names of the hour folders of a file destination.
var hourFolder = regexp.MustCompile(`^\d{2,4}$`)

// In reports whether inner is an hour folder of outer, or inside one.
func In(name, inner, outer string) bool {
	for hourFolder.MatchString(filepath.Base(inner)) {
		if inner = filepath.Dir(inner); pattern.Meet(name, inner, outer) {
			return true
		}
	}
	return false
}

// Real returns the absolute path, with symbolic links resolved as far as the path exists. The path of a single
// stream has the stream's name filled in.
func Real(name, path string) string {
	if !pattern.Is(name) {
		path = strings.ReplaceAll(path, pattern.StreamMark, name)
	}
	absolute, err := filepath.Abs(path)
	if err != nil {
		return filepath.Clean(path)
	}
	for there, rest := absolute, ""; ; {
		if real, err := filepath.EvalSymlinks(there); err == nil {
			return filepath.Join(real, rest)
		}
		above := filepath.Dir(there)
		if above == there {
			return absolute
		}
		there, rest = above, filepath.Join(filepath.Base(there), rest)
	}
}

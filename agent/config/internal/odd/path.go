// Package odd finds values of settings that are legal and surely a mistake. Its functions return the end of a warning that
// begins with the value, or "" for a value without a mistake.
package odd

import (
	"fmt"
	"regexp"
	"strings"
)

// shellVariable matches $NAME, which a shell would replace.
var shellVariable = regexp.MustCompile(`\$([A-Za-z_][A-Za-z0-9_]*)`)

// Path returns the warning for a path that a shell would have changed, or "".
func Path(s string) string {
	name := shellVariable.FindStringSubmatch(s)
	switch {
	case strings.HasPrefix(s, "~"):
		return "begins with ~, which is not expanded; write ${env.HOME} for it"
	case name != nil:
		return fmt.Sprintf("has $%s, which is not expanded; write ${env.%s} for it", name[1], name[1])
	case strings.TrimSpace(s) != s:
		return "begins or ends with a space, which is part of the path"
	}
	return ""
}

// Folder is Path for the folders that the agent writes to.
func Folder(s string) string {
	if odd := Path(s); odd != "" {
		return odd
	}
	if !strings.HasPrefix(s, "/") && !strings.Contains(s, `:\`) && !strings.Contains(s, ":/") {
		return "is relative to the folder in which the agent starts; write the path from the root"
	}
	return ""
}

// DataDir is Folder for the folder of the log.
func DataDir(s string) string {
	for _, volatile := range []string{"/run/", "/var/run/", "/dev/shm/"} {
		if strings.HasPrefix(s, volatile) {
			return "is in memory: its events are lost when the host restarts"
		}
	}
	return Folder(s)
}

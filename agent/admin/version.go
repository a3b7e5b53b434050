package admin

import (
	"runtime"
	"runtime/debug"
)

// Version is the release of this build. A release build sets it with
// -ldflags "-X github.com/standpipe/standpipe/agent/admin.Version=...".
var Version = "0.1.0"

// Commit returns the short commit of this build, with the suffix -dirty if the checkout had changes, or "unknown".
func Commit() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	return CommitOf(info.Settings)
}

// CommitOf is Commit for the settings of a build.
func CommitOf(settings []debug.BuildSetting) string {
	commit, dirty := "unknown", ""
	for _, s := range settings {
		switch {
		case s.Key == "vcs.revision" && len(s.Value) >= 7:
			commit = s.Value[:7]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "-dirty"
		}
	}
	if commit == "unknown" {
		return commit
	}
	return commit + dirty
}

// build returns the labels of the metric standpipe_build_info.
func build() [3]string { return [3]string{Version, Commit(), runtime.Version()} }

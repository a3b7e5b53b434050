package main

import (
	"regexp"
	"runtime/debug"
	"testing"
)

func TestVersion(t *testing.T) {
	got := runWith("version").stdout
	want := regexp.MustCompile(`^standpipe \d+\.\d+\.\d+ \(commit (unknown|[0-9a-f]{7}(-dirty)?), go1\.\S+ \w+/\w+\)\n$`)
	if !want.MatchString(got) {
		t.Errorf("got %q, want %s", got, want)
	}
}

func TestCommitOf(t *testing.T) {
	revision := debug.BuildSetting{Key: "vcs.revision", Value: "abc1234def5678"}
	modified := debug.BuildSetting{Key: "vcs.modified", Value: "true"}
	tests := []struct {
		settings []debug.BuildSetting
		want     string
	}{
		{nil, "unknown"},
		{[]debug.BuildSetting{revision}, "abc1234"},
		{[]debug.BuildSetting{revision, {Key: "vcs.modified", Value: "false"}}, "abc1234"},
		{[]debug.BuildSetting{revision, modified}, "abc1234-dirty"},
		{[]debug.BuildSetting{modified}, "unknown"},
	}
	for _, test := range tests {
		if got := commitOf(test.settings); got != test.want {
			t.Errorf("%v: got %q, want %q", test.settings, got, test.want)
		}
	}
}

package admin_test

import (
	"runtime/debug"
	"testing"

	"github.com/standpipe/standpipe/agent/admin"
)

func TestCommit_OfABuild(t *testing.T) {
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
		if got := admin.CommitOf(test.settings); got != test.want {
			t.Errorf("%v: got %q, want %q", test.settings, got, test.want)
		}
	}
}

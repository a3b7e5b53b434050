package main

import (
	"regexp"
	"testing"
)

func TestVersion(t *testing.T) {
	got := runWith("version").stdout
	want := regexp.MustCompile(`^standpipe \d+\.\d+\.\d+ \(commit (unknown|[0-9a-f]{7}(-dirty)?), go1\.\S+ \w+/\w+\)\n$`)
	if !want.MatchString(got) {
		t.Errorf("got %q, want %s", got, want)
	}
}

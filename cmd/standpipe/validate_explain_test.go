package main

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// validate --explain prints the values of the profile with their origin, and what the traffic means for a card.
func TestValidate_ExplainsTheProfile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.hcl")
	text := "profile = \"gateway\"\nstream \"s\" {\n  destination \"file\" \"f\" { path = \"/a\" }\n}\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got := runWith("validate", "--explain", "--events-per-second", "20", "--event-size", "200B", path)
	for _, want := range []string{
		`commit_linger +"250ms" +profile "gateway"`, `profile +"gateway" +.*agent.hcl:1:11`, `log_level +"info" +default`,
		`flash  [12]\.\d\d GB a day; a card of 4\.0 GB with 3,000 cycles lasts 1[4-7]\.\d years`, `link   0\.0 MB a day`,
	} {
		if got.code != 0 || !regexp.MustCompile(want).MatchString(got.stdout) {
			t.Errorf("got %d, %s, want %s", got.code, got.stdout, want)
		}
	}
	if got := runWith("validate", "--explain", "--card-size", "x", path); got.code != 2 {
		t.Errorf("got exit code %d for a card without a size, want 2", got.code)
	}
}

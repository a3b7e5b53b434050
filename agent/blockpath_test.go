package agent_test

import (
	"os"
	"testing"
)

// blockPath makes path a file, so that no folder can be created below it.
func blockPath(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

func unblockPath(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

//go:build unix

package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/standpipe/standpipe/test/testkit"
)

// The manifests fit the schemas of the Kubernetes API, in which no unknown field is allowed.
func TestKubernetes_ManifestsFitTheSchemas(t *testing.T) {
	endToEnd(t)
	program := standin(t, "py", "bin", "kubernetes-validate")
	if _, err := os.Stat(program); err != nil {
		testkit.Missing(t, "kubernetes-validate", err)
	}
	files, err := filepath.Glob(operatorFiles + "/kubernetes/*.yaml")
	testkit.Must(t, err)
	if len(files) < 2 {
		t.Fatalf("got the manifests %q, want at least two", files)
	}
	validate := func(files ...string) (string, error) {
		out, err := exec.Command(program, append([]string{"--strict", "--no-warn"}, files...)...).CombinedOutput()
		return string(out), err
	}
	if out, err := validate(files...); err != nil {
		t.Errorf("kubernetes-validate: %v\n%s", err, out)
	}
	text, err := os.ReadFile(files[0])
	testkit.Must(t, err)
	faulty := filepath.Join(t.TempDir(), "faulty.yaml")
	testkit.Must(t, os.WriteFile(faulty, []byte(strings.Replace(string(text), "livenessProbe:", "livenesProbe:", 1)), 0o600))
	if out, err := validate(faulty); err == nil {
		t.Errorf("kubernetes-validate accepts an unknown field:\n%s", out)
	}
}

var inlineConfig = regexp.MustCompile(`(?m)^  agent\.hcl: \|\n((?:    .*\n|\n)+)`)

// The configurations in the manifests are valid.
func TestKubernetes_ConfigurationsAreValid(t *testing.T) {
	endToEnd(t)
	files, err := filepath.Glob(operatorFiles + "/kubernetes/*.yaml")
	testkit.Must(t, err)
	for _, name := range files {
		text, err := os.ReadFile(name)
		testkit.Must(t, err)
		found := inlineConfig.FindSubmatch(text)
		if found == nil {
			t.Errorf("%s has no agent.hcl", name)
			continue
		}
		path := filepath.Join(t.TempDir(), "agent.hcl")
		testkit.Must(t, os.WriteFile(path, []byte(strings.ReplaceAll("\n"+string(found[1]), "\n    ", "\n")), 0o600))
		cmd := exec.Command(standpipe, "validate", path)
		cmd.Env = append(os.Environ(), "POD_NAME=shop-0", "NODE_NAME=node-1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

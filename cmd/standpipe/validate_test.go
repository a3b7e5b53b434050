package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/standpipe/standpipe/cmd/standpipe/internal/cli"
)

func writeConfig(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "agent.hcl")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const goodConfig = `
data_dir = "/var/lib/standpipe"
listener "grpc" {
  address = "127.0.0.1:7710"
}
stream "clicks" {
  destination "file" "one" {
    path = "/var/lib/standpipe/out"
  }
  destination "file" "two" {
    path = "/var/lib/standpipe/two"
  }
}
`

func TestValidate_WithoutFaults(t *testing.T) {
	path := writeConfig(t, goodConfig)
	got := runWith("validate", path)
	want := outcome{0, path + ": ok: 1 stream, 2 destinations, 1 listener\n", ""}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestValidate_PrintsEveryFault(t *testing.T) {
	path := writeConfig(t, strings.ReplaceAll(goodConfig, "path", "pat")+"colour = \"red\"\n")
	for command, code := range map[string]int{"validate": cli.ExitFailed, "cost": cli.ExitFailed, "agent --config": cli.ExitUsage} {
		got := runWith(append(strings.Fields(command), path)...)
		lines := strings.Split(strings.TrimSuffix(got.stderr, "\n"), "\n")
		if got.code != code || got.stdout != "" || len(lines) != 9 {
			t.Fatalf("%s: got %+v, want exit code %d and three lines for each of three faults", command, got, code)
		}
		for i := 0; i < len(lines); i += 3 {
			source, carets := strings.TrimSpace(lines[i+1]), strings.TrimSpace(lines[i+2])
			if !strings.HasPrefix(lines[i], path+":") || !strings.HasPrefix(source, "pat ") && !strings.HasPrefix(source, "colour") || strings.Trim(carets, "^") != "" {
				t.Errorf("%s: got\n%s\nwant the place, the line and carets", command, strings.Join(lines[i:i+3], "\n"))
			}
		}
	}
}

func TestValidate_PrintsWarnings(t *testing.T) {
	path := writeConfig(t, strings.Replace(goodConfig, "/var/lib/standpipe/out", "~/out", 1))
	got := runWith("validate", path)
	want := path + `:8:12: warning: path: "~/out" begins with ~, which is not expanded; write ${env.HOME} for it` + "\n" +
		"        path = \"~/out\"\n" +
		"               ^^^^^^^\n"
	if got.code != 0 || got.stdout != path+": ok: 1 stream, 2 destinations, 1 listener\n" || got.stderr != want {
		t.Errorf("got %+v, want exit code 0 and\n%s", got, want)
	}
}

func TestValidate_JSON(t *testing.T) {
	path := writeConfig(t, "log_level = \"loud\"\n")
	got := runWith("validate", "--json", path)
	want := fmt.Sprintf(`{
  "ok": false,
  "faults": [
    {
      "file": %q,
      "line": 1,
      "column": 13,
      "text": "log_level: \"loud\" is unknown; allowed is trace, debug, info, warn or error",
      "source": "log_level = \"loud\"",
      "length": 6
    }
  ],
  "warnings": []
}
`, path)
	if got.code != 1 || got.stdout != want || got.stderr != "" {
		t.Errorf("got %+v, want exit code 1 and\n%s", got, want)
	}
	if got := runWith("validate", "--json", writeConfig(t, "data_dir = \"x\"\n"+goodConfig[len("\ndata_dir = \"/var/lib/standpipe\"\n"):])); got.code != 0 ||
		!strings.Contains(got.stdout, `"ok": true`) || !strings.Contains(got.stdout, "is relative to the folder") {
		t.Errorf("got %+v, want exit code 0 and a warning", got)
	}
}

func TestValidate_UnreadableFile(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{dir, filepath.Join(dir, "nothing.hcl")} {
		got := runWith("validate", path)
		if got.code != 1 || got.stdout != "" || !strings.Contains(got.stderr, path) {
			t.Errorf("%s: got %+v, want exit code 1 and the file's name", path, got)
		}
	}
}

func TestValidate_NamedFiles(t *testing.T) {
	open := writeSecret(t, "one\n")
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	path := writeConfig(t, fmt.Sprintf(`
admin {
  address = "unix:///run/standpipe/admin.sock"
  auth { token_file = %q }
}
listener "grpc" {
  address = "127.0.0.1:7710"
  tls {
    cert_file = "/absent.pem"
    key_file  = "/absent.key"
  }
}
identity "a" { token_file = %q }
identity "b" { token_file = %q }
`, open, writeSecret(t, "two words\n"), writeSecret(t, "")))
	if got := runWith("validate", path); got.code != 0 {
		t.Errorf("without --files: got %+v", got)
	}
	got := runWith("validate", path, "--files")
	if got.code != 1 || got.stdout != "" {
		t.Errorf("got %+v, want exit code 1", got)
	}
	for _, want := range []string{
		path + `:6:1: listener "grpc": read certificate /absent.pem and key /absent.key: `,
		path + `:13:1: identity "a": read tokens: `, path + `:14:1: identity "b": read tokens: `,
		"[WARN]  everybody on this host can read a token file; chmod o-rwx closes it: file=" + open + "\n",
	} {
		if strings.Count(got.stderr, want) != 1 {
			t.Errorf("got no %q, or more than one, in\n%s", want, got.stderr)
		}
	}
	path = writeConfig(t, fmt.Sprintf("identity \"a\" { token_file = %[1]q }\nidentity \"b\" { token_file = %[1]q }\n", open))
	if got := runWith("validate", path, "--files"); got.code != 1 || !strings.Contains(got.stderr, path+`:2:1: identity "b": a token in `) {
		t.Errorf("a token of two: got %+v", got)
	}
	path = writeConfig(t, fmt.Sprintf("identity \"a\" { token_file = %q }\n", open))
	if got := runWith("validate", path, "--files"); got.code != 0 || !strings.Contains(got.stdout, ": ok: ") {
		t.Errorf("without faults: got %+v", got)
	}
}

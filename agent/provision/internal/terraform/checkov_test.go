package terraform_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/standpipe/standpipe/test/draw"
	"github.com/standpipe/standpipe/test/testkit"
)

// finding is one check of one resource.
type finding struct {
	ID       string `json:"check_id"`
	File     string `json:"file_path"`
	Resource string `json:"resource"`
	Result   struct {
		Reason string `json:"suppress_comment"`
	} `json:"check_result"`
}

// report is the JSON that checkov writes.
type report struct {
	Results struct {
		Passed  []finding `json:"passed_checks"`
		Failed  []finding `json:"failed_checks"`
		Skipped []finding `json:"skipped_checks"`
	} `json:"results"`
	Summary struct {
		ParsingErrors int `json:"parsing_errors"`
	} `json:"summary"`
}

// The folder "unskipped" has the files of whole without the comments that skip checks: checkov must find something there.
func TestTerraform_PassesCheckov(t *testing.T) {
	if testing.Short() {
		t.Skip("-short leaves out the tests with stand-ins")
	}
	seed := draw.Seed(t)
	r := rand.New(rand.NewPCG(seed, 1))

	root := t.TempDir()
	folders := []string{"whole"}
	_, files := write(t, whole)
	save(t, filepath.Join(root, "whole"), files)
	files["main.tf"] = regexp.MustCompile(`(?m)^ *#checkov:skip=.*\n`).ReplaceAllString(files["main.tf"], "")
	save(t, filepath.Join(root, "unskipped"), files)
	for i := range 3 {
		name := fmt.Sprintf("drawn%d", i)
		text := drawFile(r)
		t.Logf("%s:\n%s", name, text)
		_, files := write(t, text)
		save(t, filepath.Join(root, name), files)
		folders = append(folders, name)
	}

	found := checkov(t, root)
	if found.Summary.ParsingErrors > 0 {
		t.Errorf("got %d files that cannot be parsed, want none", found.Summary.ParsingErrors)
	}
	passed := make(map[string]int)
	for _, f := range found.Results.Passed {
		passed[folder(f)]++
	}
	for _, name := range folders {
		if passed[name] == 0 {
			t.Errorf("folder %s: no check passed: it was not read", name)
		}
	}
	noticed := 0
	for _, f := range found.Results.Failed {
		if folder(f) == "unskipped" {
			noticed++
		} else {
			t.Errorf("%s: %s fails %s, which is neither met nor skipped", f.File, f.Resource, f.ID)
		}
	}
	if noticed == 0 {
		t.Error("folder unskipped: no check failed, want those that the comments skip")
	}
	for _, f := range found.Results.Skipped {
		if f.Result.Reason == "" || f.Result.Reason == "No comment provided" {
			t.Errorf("%s: %s skips %s without a reason", f.File, f.Resource, f.ID)
		}
	}
}

// drawFile returns a configuration with 1 to 4 destinations that provision can create.
func drawFile(r *rand.Rand) string {
	pick := func(options ...string) string { return options[r.IntN(len(options))] }
	var b strings.Builder
	fmt.Fprintf(&b, "aws { region = %q }\n", pick("eu-west-1", "us-east-1", "ap-southeast-2"))
	for i := range 1 + r.IntN(4) {
		shared := pick("", "alarm_topic = \"arn:aws:sns:us-east-1:123456789012:on-call\"\n") + pick("", "freshness = \"5m\"\n")
		if r.IntN(2) == 0 {
			fmt.Fprintf(&b, "stream \"s%d\" {\n destination \"firehose\" \"lake\" {\n delivery_stream = \"lake-%d\"\n provision {\n%s%s}\n}\n}\n",
				i, i, pick("", "bucket = \"events\"\n"), shared)
			continue
		}
		mode := pick("", fmt.Sprintf("mode = \"provisioned\"\nshards = %d\n", 1+r.IntN(9)))
		archive := pick("", "archive = true\n", "archive = true\nbucket = \"events\"\n")
		if archive == "" {
			shared = pick("", "alarm_topic = \"arn:aws:sns:us-east-1:123456789012:on-call\"\n")
		}
		fmt.Fprintf(&b, "stream \"s%d\" {\n destination \"kinesis\" \"live\" {\n stream = \"live-%d\"\n provision {\n%s%s%s}\n}\n}\n",
			i, i, mode, archive, shared)
	}
	return b.String()
}

// save writes files into a new folder.
func save(t *testing.T, folder string, files map[string]string) {
	t.Helper()
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// checkov runs checkov once over all folders in root: nearly all of its time is its start.
func checkov(t *testing.T, root string) report {
	t.Helper()
	standins := os.Getenv("STANDPIPE_STANDINS")
	if standins == "" {
		standins = filepath.Join("..", "..", "..", "..", ".standins")
	}
	program, err := filepath.Abs(filepath.Join(standins, "checkov", "bin", "checkov"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(standins, "checkov", "installed")); err != nil {
		testkit.NotTested(t, "checkov's checks of the Terraform (`make standins` installs it, where its wheels are to be had)", err)
		t.SkipNow() // no failure in the gate: it has no wheels for some versions of Python
	}
	cmd := exec.CommandContext(t.Context(), program, "--directory", root, "--framework", "terraform",
		"--skip-download", "--output", "json", "--compact", "--soft-fail")
	cmd.Env = append(os.Environ(), "CHECKOV_RUN_SCA_PACKAGE_SCAN=false", "LOG_LEVEL=ERROR")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s%s", err, out.String(), errs.String())
	}
	var found report
	if err := json.Unmarshal(out.Bytes(), &found); err != nil {
		t.Fatalf("%v\n%s%s", err, out.String(), errs.String())
	}
	return found
}

// folder returns the folder of a finding's file, which is named from the folder that was checked: /whole/main.tf.
func folder(f finding) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(f.File, "/"), "/")
	return name
}

package terraform_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"

	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/agent/provision"
	"github.com/standpipe/standpipe/test/testkit"
)

const whole = `
aws { region = "eu-west-1" }
stream "clicks" {
  destination "kinesis" "live" {
    stream = "clicks"
    provision { archive = true }
  }
}
stream "orders" {
  destination "kinesis" "live" {
    stream = "arn:aws:kinesis:us-east-1:123456789012:stream/orders"
    provision {
      mode        = "provisioned"
      shards      = 2
      alarm_topic = "arn:aws:sns:us-east-1:123456789012:on-call"
    }
  }
  destination "firehose" "lake" {
    delivery_stream = "orders-lake"
    provision { bucket = "orders" }
  }
}`

// write writes the files for a configuration, and returns them by name.
func write(t *testing.T, text string) (folder string, files map[string]string) {
	t.Helper()
	conf, err := config.Parse([]byte(text), "agent.hcl")
	if err != nil {
		t.Fatal(err)
	}
	folder = filepath.Join(t.TempDir(), "infra")
	if _, err := provision.WriteTerraform(t.Context(), folder, conf, provision.Options{}); err != nil {
		t.Fatal(err)
	}
	files = make(map[string]string)
	for _, name := range []string{"main.tf", "variables.tf", "outputs.tf", "versions.tf"} {
		content, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = string(content)
	}
	return folder, files
}

func TestTerraform_IsFormattedAndComplete(t *testing.T) {
	_, files := write(t, whole)
	placeholder := regexp.MustCompile(`\b[A-Z]+_[A-Z_]+[A-Z]\b`)
	known := regexp.MustCompile(`ON_DEMAND|AWS_OWNED_CMK|CKV2?_AWS_`)
	for name, text := range files {
		if formatted := hclwrite.Format([]byte(text)); !bytes.Equal(formatted, []byte(text)) {
			t.Errorf("%s is not formatted; got\n%s\nwant\n%s", name, text, formatted)
		}
		for _, found := range placeholder.FindAllString(text, -1) {
			if !known.MatchString(found) {
				t.Errorf("%s has %s", name, found)
			}
		}
	}
	for _, want := range []string{`"standpipe-ACCOUNT-eu-west-1"`, `shards = 2`, `source  = "clicks"`, `region = "us-east-1"`, `threshold   = 503316480`} {
		if !strings.Contains(files["variables.tf"], want) {
			t.Errorf("variables.tf has no %s:\n%s", want, files["variables.tf"])
		}
	}
}

// schema is a resource or a nested block of Terraform's provider.
type schema struct {
	Required, Optional []string
	Blocks             map[string]schema
}

// Every resource, block and attribute is one of the provider, and has those that it requires. testdata/README.md has the
// origin of the schema.
func TestTerraform_FollowsTheProvidersSchema(t *testing.T) {
	var provider map[string]schema
	text, err := os.ReadFile("testdata/provider.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &provider); err != nil {
		t.Fatal(err)
	}
	_, files := write(t, whole)
	resources := 0
	for name, text := range files {
		parsed, faults := hclsyntax.ParseConfig([]byte(text), name, hcl.InitialPos)
		if faults.HasErrors() {
			t.Fatal(faults)
		}
		for _, b := range parsed.Body.(*hclsyntax.Body).Blocks {
			if b.Type != "resource" {
				continue
			}
			resources++
			of, known := provider[b.Labels[0]]
			if !known {
				t.Errorf("%s: unknown resource %s", name, b.Labels[0])
			}
			delete(b.Body.Attributes, "for_each")
			delete(b.Body.Attributes, "depends_on")
			compare(t, b.Labels[0], b.Body, of)
		}
	}
	if resources != 9 {
		t.Errorf("got %d resources, want 9", resources)
	}
}

// compare compares a block with its schema.
func compare(t *testing.T, at string, body *hclsyntax.Body, of schema) {
	has := make(map[string]bool)
	allowed := make(map[string]bool)
	for _, name := range append(of.Required, of.Optional...) {
		allowed[name] = true
	}
	for name := range body.Attributes {
		has[name] = true
		if !allowed[name] {
			t.Errorf("%s: unknown attribute %s", at, name)
		}
	}
	for _, b := range body.Blocks {
		name, inner := b.Type, b.Body
		if name == "dynamic" {
			name, inner = b.Labels[0], b.Body.Blocks[0].Body
		}
		has[name] = true
		nested, known := of.Blocks[name]
		if !known {
			t.Errorf("%s: unknown block %s", at, name)
		}
		compare(t, at+"."+name, inner, nested)
	}
	for _, name := range of.Required {
		if !has[name] {
			t.Errorf("%s: no %s", at, name)
		}
	}
}

// An edited file stays, and nothing else is written then.
func TestTerraform_DoesNotOverwriteEditedFiles(t *testing.T) {
	conf, err := config.Parse([]byte(whole), "agent.hcl")
	if err != nil {
		t.Fatal(err)
	}
	folder, files := write(t, whole)
	again := func() error {
		_, err := provision.WriteTerraform(t.Context(), folder, conf, provision.Options{})
		return err
	}
	if err := again(); err != nil {
		t.Errorf("got %v for files that are as they were written", err)
	}
	testkit.Must(t, os.Remove(filepath.Join(folder, "main.tf")))
	edited := files["versions.tf"] + "# mine\n"
	testkit.Must(t, os.WriteFile(filepath.Join(folder, "versions.tf"), []byte(edited), 0o644))
	if err := again(); err == nil || !strings.Contains(err.Error(), "versions.tf was edited") {
		t.Errorf("got %v, want an error about versions.tf", err)
	}
	if have, err := os.ReadFile(filepath.Join(folder, "versions.tf")); err != nil || string(have) != edited {
		t.Errorf("got %q, %v", have, err)
	}
	if _, err := os.Stat(filepath.Join(folder, "main.tf")); err == nil {
		t.Error("main.tf was written")
	}
}

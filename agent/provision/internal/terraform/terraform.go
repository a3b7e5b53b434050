// Package terraform writes the resources of package wanted as Terraform: main.tf, variables.tf, outputs.tf and versions.tf.
//
// # Contract
//
// main.tf is the same for all configurations; the defaults of variables.tf are the configuration. The policies are those of
// agent/iam. Write replaces a file only if it is as an earlier Write left it, and writes none if it may not write one.
package terraform

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/standpipe/standpipe/agent/iam"
	"github.com/standpipe/standpipe/agent/provision/internal/wanted"
)

var (
	//go:embed parts/kinesis.tf
	kinesisPart string
	//go:embed parts/delivery.tf
	deliveryPart string
	//go:embed parts/alarms.tf
	alarmsPart string
	//go:embed parts/variables.tf
	variablesPart string
	//go:embed parts/outputs.tf
	outputsPart string
	//go:embed parts/versions.tf
	versionsPart string
)

// File is a file of Terraform.
type File struct{ Name, Text string }

// Files returns the files for a set. agent is the policy of the agent. The set may have the resources of one profile only, which is
// that of the provider.
func Files(set wanted.Set, agent iam.Document) ([]File, error) {
	var places []wanted.Place
	for _, s := range set.Streams {
		places = append(places, s.Place)
	}
	for _, d := range set.Deliveries {
		places = append(places, d.Place)
	}
	if len(places) == 0 {
		return nil, errors.New("no kinesis or firehose destination: there is nothing to write")
	}
	for _, p := range places {
		if p.Profile != places[0].Profile {
			return nil, fmt.Errorf("destinations have the profiles %q and %q: Terraform's provider has one; write each from a file of its own", places[0].Profile, p.Profile)
		}
	}
	policy, err := json.MarshalIndent(agent, "    ", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode policy: %w", err)
	}
	defaults := strings.NewReplacer(
		"= REGION\n", "= "+quote(places[0].Region)+"\n",
		"= KINESIS_STREAMS\n", "= "+streams(set)+"\n", "= BUCKETS\n", "= "+buckets(set)+"\n",
		"= FIREHOSE_STREAMS\n", "= "+deliveries(set)+"\n", "= ALARMS\n", "= "+alarms(set)+"\n")
	return []File{
		{"main.tf", constants().Replace(kinesisPart + "\n" + deliveryPart + "\n" + alarmsPart)},
		{"variables.tf", defaults.Replace(variablesPart)},
		{"outputs.tf", strings.Replace(outputsPart, "AGENT_POLICY", strings.ReplaceAll(string(policy), "${", "$${"), 1)},
		{"versions.tf", versionsPart},
	}, nil
}

// constants returns the replacer of the words in capital letters in main.tf.
func constants() *strings.Replacer {
	policy := iam.DeliveryPolicy("${aws_s3_bucket.this[each.value.bucket].arn}", []string{"${each.value.name}/", "errors/${each.value.name}/"}, "${aws_kinesis_stream.this[source].arn}")
	last := len(policy.Statement) - 1
	return strings.NewReplacer(
		"POLICY_VERSION", iam.Version,
		"TRUST_STATEMENTS", list(iam.DeliveryTrust("${local.account}").Statement, "    "),
		"WRITE_STATEMENTS", list(policy.Statement[:last], "      "),
		"READ_STATEMENT", statement(policy.Statement[last], "      "),
		"ABORT_AFTER_DAYS", strconv.Itoa(wanted.AbortAfterDays),
		"BUFFER_MIB", strconv.Itoa(wanted.BufferMiB), "BUFFER_SECONDS", strconv.Itoa(wanted.BufferSeconds),
		"= PERIODS\n", fmt.Sprintf("= %d\n", wanted.Periods), "PERIOD ", fmt.Sprintf("%.0f ", wanted.Period.Seconds()), "= PERIOD\n", fmt.Sprintf("= %.0f\n", wanted.Period.Seconds()),
		"PERCENT_OF_QUOTA", wanted.PercentOfQuota)
}

// list returns statements of a policy as a list of objects.
func list(statements []iam.Statement, indent string) string {
	text := "[\n"
	for _, s := range statements {
		text += indent + "  " + statement(s, indent+"  ") + ",\n"
	}
	return text + indent + "]"
}

// statement returns a statement of a policy as an object. Strings may have interpolations.
func statement(s iam.Statement, indent string) string {
	fields := []field{{"Sid", `"` + s.Sid + `"`}, {"Effect", `"` + s.Effect + `"`}}
	for _, kind := range sorted(s.Principal) {
		fields = append(fields, field{"Principal", `{ ` + kind + ` = "` + s.Principal[kind] + `" }`})
	}
	fields = append(fields, field{"Action", texts(s.Action)})
	if len(s.Resource) > 0 {
		fields = append(fields, field{"Resource", texts(s.Resource)})
	}
	for _, operator := range sorted(s.Condition) {
		for _, key := range sorted(s.Condition[operator]) {
			fields = append(fields, field{"Condition", `{ ` + operator + ` = { "` + key + `" = "` + s.Condition[operator][key] + `" } }`})
		}
	}
	return object(fields, indent)
}

func sorted[V any](m map[string]V) []string {
	var keys []string
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func texts(list []string) string { return `["` + strings.Join(list, `", "`) + `"]` }

// field is one name = value of an object.
type field struct{ name, value string }

// object returns fields as terraform fmt aligns them. Fields without a value are left out.
func object(fields []field, indent string) string {
	fields = slices.DeleteFunc(fields, func(f field) bool { return f.value == "" })
	width := 0
	for _, f := range fields {
		width = max(width, len(f.name))
	}
	text := "{\n"
	for _, f := range fields {
		text += fmt.Sprintf("%s  %-*s = %s\n", indent, width, f.name, f.value)
	}
	return text + indent + "}"
}

// quote returns a string of Terraform, or "" for an empty one.
func quote(s string) string {
	if s == "" {
		return ""
	}
	return strings.ReplaceAll(strings.ReplaceAll(strconv.Quote(s), "${", "$${"), "%{", "%%{")
}

// keys gives the resources of one kind their keys: the name, with the region if another resource has the same name.
type keys map[string]bool

func (k keys) of(name, region string) string {
	key := name
	if k[key] {
		key += "-" + region
	}
	k[key] = true
	return key
}

// objects returns a map of objects.
func objects(entries []field) string {
	if len(entries) == 0 {
		return "{}"
	}
	text := "{\n"
	for _, e := range entries {
		text += "    " + quote(e.name) + " = " + e.value + "\n"
	}
	return text + "  }"
}

const entry = "    " // the indentation of an entry of a default

func streams(set wanted.Set) string {
	var all []field
	key := keys{}
	for _, s := range set.Streams {
		shards := ""
		if s.Shards > 0 {
			shards = strconv.FormatInt(s.Shards, 10)
		}
		all = append(all, field{key.of(s.Name, s.Region), object([]field{{"name", quote(s.Name)}, {"region", quote(s.Region)}, {"shards", shards}}, entry)})
	}
	return objects(all)
}

func buckets(set wanted.Set) string {
	var all []field
	key := keys{}
	for _, b := range set.Buckets {
		all = append(all, field{key.of(b.Name, b.Region), object([]field{{"name", quote(b.Name)}, {"region", quote(b.Region)}}, entry)})
	}
	return objects(all)
}

func deliveries(set wanted.Set) string {
	sources := make(map[wanted.Stream]string)
	key := keys{}
	for _, s := range set.Streams {
		sources[wanted.Stream{Place: s.Place, Name: s.Name}] = key.of(s.Name, s.Region)
	}
	var all []field
	key = keys{}
	for _, d := range set.Deliveries {
		newline := ""
		if d.Newline {
			newline = "true"
		}
		all = append(all, field{key.of(d.Name, d.Region), object([]field{
			{"name", quote(d.Name)}, {"region", quote(d.Region)}, {"role", quote(d.Role())}, {"bucket", quote(d.Bucket)},
			{"source", quote(sources[wanted.Stream{Place: d.Place, Name: d.Source}])}, {"newline", newline},
		}, entry)})
	}
	return objects(all)
}

func alarms(set wanted.Set) string {
	var all []field
	key := keys{}
	for _, a := range set.Alarms {
		below := ""
		if a.Below {
			below = "true"
		}
		all = append(all, field{key.of(a.Name, a.Region), object([]field{
			{"name", quote(a.Name)}, {"region", quote(a.Region)}, {"description", quote(a.Text)}, {"namespace", quote(a.Namespace)}, {"dimension", quote(a.Dimension)},
			{"stream", quote(a.Stream)}, {"metric", quote(a.Metric)}, {"statistic", quote(a.Statistic)}, {"quota", quote(a.Quota)}, {"below", below},
			{"threshold", strconv.FormatFloat(a.Threshold, 'f', -1, 64)}, {"topic", quote(a.Topic)},
		}, entry)})
	}
	return objects(all)
}

// mark begins the first line of a file, before the checksum of the rest.
const mark = "# Written by standpipe provision --terraform; sha256 of the lines below: "

// Write writes the files to a folder, which it creates. A file of another origin, or one that was edited, is an error.
func Write(folder string, files []File) error {
	var foreign []error
	for _, f := range files {
		name := filepath.Join(folder, f.Name)
		have, err := os.ReadFile(name)
		if err == nil && !written(string(have)) {
			err = fmt.Errorf("%s was edited, or is not of this command: move it away, or choose another folder", name)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			foreign = append(foreign, err)
		}
	}
	if len(foreign) > 0 {
		return errors.Join(foreign...)
	}
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return err
	}
	for _, f := range files {
		if err := os.WriteFile(filepath.Join(folder, f.Name), []byte(mark+sum(f.Text)+"\n"+f.Text), 0o666); err != nil {
			return err
		}
	}
	return nil
}

func sum(text string) string {
	s := sha256.Sum256([]byte(text))
	return hex.EncodeToString(s[:])
}

// written reports whether a file is as Write left it.
func written(text string) bool {
	first, rest, _ := strings.Cut(text, "\n")
	return first == mark+sum(rest)
}

package config_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/standpipe/standpipe/agent/config"
)

func TestSharedDestination_IsCopiedToEachStream(t *testing.T) {
	c := parse(t, `
stream "audit-*" { destinations = ["archive"] }
stream "clicks" {
  format       = "text"
  priority     = "high"
  destinations = ["bus", "archive"]
  destination "file" "local" { path = "out" }
}
destination "s3" "archive" {
  bucket   = "events"
  prefix   = "all/${stream}/dt=%Y-%m-%d/"
  envelope = true
}
destination "kinesis" "bus" { stream = "all" }
aws { region = "eu-west-1" }`)
	var names [][]string
	for _, s := range c.Streams {
		var of []string
		for _, d := range s.Destinations {
			of = append(of, d.Name)
		}
		names = append(names, of)
	}
	if want := [][]string{{"archive"}, {"local", "bus", "archive"}}; !reflect.DeepEqual(names, want) {
		t.Fatalf("got %v, want %v", names, want)
	}
	audit, clicks, bus := c.Streams[0].Destinations[0], c.Streams[1].Destinations[2], c.Streams[1].Destinations[1]
	if audit.Format != "json" || clicks.Format != "text" || audit.Priority != "normal" || clicks.Priority != "high" || bus.AWS.Region != "eu-west-1" {
		t.Errorf("got %+v and %+v", audit, clicks)
	}
	if got := clicks.For("clicks").S3.Prefix; got != "all/clicks/dt=%Y-%m-%d/" {
		t.Errorf("got %q", got)
	}
	if audit.Pos.Line != 9 {
		t.Errorf("got %v, want the line of the shared block", audit.Pos)
	}
}

func TestSharedDestination_Faults(t *testing.T) {
	const allowed = `allowed is a list of names that destination blocks of the file have, like ["archive"]`
	for _, tt := range []struct {
		name, src string
		want      []string
	}{
		{"an unknown name", `
destination "file" "archive" { path = "x" }
stream "a" { destinations = ["archiv", "archive", "archive"] }
stream "b" { destinations = ["lake"] }`, []string{
			`3:30: destinations: no destination block of the file is called "archiv"; did you mean "archive"?`,
			`3:51: destinations: "archive" is given twice; a name may stand once`,
			`4:30: destinations: no destination block of the file is called "lake"; allowed is archive`}},
		{"no shared destination", `stream "a" { destinations = ["archive"] }`, []string{
			`1:30: destinations: no destination block of the file is called "archive"; the file has none; needed is a block destination "TYPE" "NAME" outside of all streams`}},
		{"no name", `stream "a" { destinations = [] }`, []string{
			`1:1: stream "a" has no destination; needed is at least one block destination "TYPE" "NAME", or destinations = ["NAME"]`}},
		{"no list", `stream "a" { destinations = "archive" }`, []string{
			`1:29: destinations: "archive" is no list; ` + allowed}},
		{"a name of the stream's own", `
destination "file" "archive" { path = "x" }
stream "a" {
  destinations = ["archive"]
  destination "file" "archive" { path = "y" }
}`, []string{
			`4:19: destinations: "archive" is the name of a destination in stream "a" too, at line 5; allowed is a name of its own`}},
		{"a shared name twice", `
destination "file" "archive" { path = "x" }
destination "s3" "archive" { bucket = "events" }
destination "fil" "b c" {}`, []string{
			`3:18: destination "archive" is given twice; a name may stand once, first at line 2`,
			`4:13: destination type "fil" is unknown; did you mean "file"?`,
			`4:19: destination name "b c" has the character ' '; allowed are A-Z a-z 0-9 . _ -`}},
		{"a fault of a block that several streams use", `
destination "file" "archive" {
  path      = "x"
  roll_size = "0B"
}
destination "file" "other" { path = "x/" }
stream "a" { destinations = ["archive", "other"] }
stream "b" { destinations = ["archive", "other"] }`, []string{
			`4:15: roll_size: "0B" is too small; allowed is a size of 1B or more, like "64MiB"`,
			`6:37: path: "x/" is the path of destination "archive" at line 2 too; allowed is a folder of its own`}},
		{"keys that two streams share", `
destination "s3" "archive" {
  bucket = "events"
  prefix = "${stream}-"
}
destination "s3" "other" { bucket = "events" }
stream "a" { destinations = ["archive"] }
stream "a-a" { destinations = ["other"] }`, []string{
			`6:1: prefix: destination "archive" of stream "a" at line 2 writes objects of the same keys; allowed is a prefix or a bucket of its own`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := faultsOf(t, tt.src); strings.Join(got, "\n") != strings.Join(tt.want, "\n") {
				t.Errorf("got  %s\nwant %s", strings.Join(got, "\n     "), strings.Join(tt.want, "\n     "))
			}
		})
	}
}

// Destinations of one file may stand in another file of the folder.
func TestSharedDestination_InAFolder(t *testing.T) {
	dir := writeFolder(t, map[string]string{
		"10-clicks.hcl":  `stream "clicks" { destinations = ["archive"] }`,
		"90-archive.hcl": `destination "s3" "archive" { bucket = "events" }`,
	})
	c, err := config.Load(dir)
	if err != nil || len(c.Streams[0].Destinations) != 1 {
		t.Errorf("got %+v, %v", c, err)
	}
}

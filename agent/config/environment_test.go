package config_test

import (
	"strings"
	"testing"
	"time"

	"github.com/standpipe/standpipe/agent/config"
)

func TestEnvironment_FillsInAnyString(t *testing.T) {
	t.Setenv("STANDPIPE_TEST_NODE", "gw-1")
	t.Setenv("STANDPIPE_TEST_EMPTY", "")
	c := parse(t, `
node_name        = "${env.STANDPIPE_TEST_NODE}"
data_dir         = "/var/lib/${env("STANDPIPE_TEST_NODE", "none")}/${env("STANDPIPE_TEST_UNSET", "standpipe")}${env.STANDPIPE_TEST_EMPTY}"
shutdown_timeout = "${env("STANDPIPE_TEST_UNSET", "7s")}"
identity "a" {
  uids    = [1]
  streams = ["${env.STANDPIPE_TEST_NODE}-*"]
}
stream "clicks" {
  destination "kinesis" "live" { stream = "${stream}-${env.STANDPIPE_TEST_NODE}" }
  destination "s3" "lake" {
    bucket = "events"
    tags   = { node = "${env.STANDPIPE_TEST_NODE}" }
  }
}`)
	d := c.Streams[0].Destinations
	if c.NodeName != "gw-1" || c.DataDir != "/var/lib/gw-1/standpipe" || c.ShutdownTimeout != 7*time.Second || c.Identities[0].Streams[0] != "gw-1-*" ||
		d[0].For("clicks").Stream != "clicks-gw-1" || d[1].S3.Tags != "node=gw-1" {
		t.Errorf("got %+v", c)
	}
}

func TestEnvironment_Faults(t *testing.T) {
	t.Setenv("STANDPIPE_TEST_LINES", "a\nb")
	t.Setenv("STANDPIPE_TEST_EMPTY", "")
	const allowed = `allowed is ${env.NAME} or ${env("NAME", "default")}`
	for src, want := range map[string]string{
		`node_name = "a-${env.STANDPIPE_TEST_UNSET}"`:       `1:18: node_name: the environment variable "STANDPIPE_TEST_UNSET" is not set; allowed is a variable that is set, or ${env("STANDPIPE_TEST_UNSET", "default")}`,
		`node_name = "${env("STANDPIPE_TEST_UNSET")}"`:      `1:16: node_name: the environment variable "STANDPIPE_TEST_UNSET" is not set; allowed is a variable that is set, or ${env("STANDPIPE_TEST_UNSET", "default")}`,
		`node_name = "${env.STANDPIPE_TEST_EMPTY}"`:         `1:13: node_name: "" is empty; allowed is a name, like "gateway-17"`,
		`node_name = "${env.STANDPIPE_TEST_LINES}"`:         `1:13: node_name: "a\nb" has a control character or a line break; allowed is a name, like "gateway-17"`,
		`node_name = "${env}"`:                              `1:16: node_name: env has no name of a variable behind a dot; ` + allowed,
		`node_name = "${env.A.B}"`:                          `1:16: node_name: env has no name of a variable behind a dot; ` + allowed,
		`node_name = "${env("A", 1)}"`:                      `1:16: node_name: env needs one or two strings in quotes; ` + allowed,
		`node_name = "${env()}"`:                            `1:16: node_name: env needs one or two strings in quotes; ` + allowed,
		`node_name = "${env("", "x")}"`:                     `1:16: node_name: env needs one or two strings in quotes; ` + allowed,
		`node_name = "${env("A", "${env.B}")}"`:             `1:16: node_name: env needs one or two strings in quotes; ` + allowed,
		`node_name = "${upper("a")}"`:                       `1:16: node_name: an expression is not evaluated; allowed is plain text in quotes`,
		`node_name = env.A`:                                 `1:13: node_name: env.A is not in quotes; allowed is "${env.A}"`,
		`log_level = "${env("STANDPIPE_TEST_UNSET", "x")}"`: `1:13: log_level: "x" is unknown; allowed is trace, debug, info, warn or error`,
	} {
		_, err := config.Parse([]byte(src), "a.hcl")
		if err == nil || strings.TrimPrefix(err.Error(), "a.hcl:") != want {
			t.Errorf("%s:\ngot  %v\nwant %s", src, err, want)
		}
	}
}

package config_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/standpipe/standpipe/agent/config"
)

const (
	address       = `host:port with a port from 0 to 65535, like "127.0.0.1:7710", or "unix:///run/standpipe/events.sock"`
	kinesisStream = `the name of a Kinesis stream, or its ARN, like "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks"`
	folder        = `the path of a folder, like "/var/lib/standpipe/out/${stream}"`
	tokenFile     = `the path of a file with tokens, one a line`
)

// in puts lines into a destination of stream "a": the first of them is on line 3.
func in(head string, lines ...string) string {
	return "stream \"a\" {\ndestination " + head + " {\n" + strings.Join(lines, "\n") + "\n}\n}"
}

func TestFaults(t *testing.T) {
	for _, tt := range []struct {
		name, src string
		want      []string // without the file's name
	}{
		// the language
		{"syntax", "node_name = \"x\"\nwal {\n", []string{
			`2:5: wal has no closing }; allowed is one } for each {`}},
		{"a setting twice", "log_level = \"info\"\nlog_level = \"warn\"\nlog_format = \"x\"", []string{
			`2:1: log_level is given twice; a setting may stand once in its block`,
			`3:14: log_format: "x" is unknown; allowed is text or json`}},
		{"a bare word", `log_level = info`, []string{
			`1:13: log_level: info is a bare word, not a string in quotes; allowed is trace, debug, info, warn or error`}},
		{"a bare true", `node_name = true`, []string{
			`1:13: node_name: true is a bare word, not a string in quotes; allowed is a name, like "gateway-17"`}},
		{"null", `node_name = null`, []string{
			`1:13: node_name: null is no value, not a string in quotes; allowed is a name, like "gateway-17"`}},
		{"a list", "node_name = [\n  \"a\" ]", []string{
			`1:13: node_name: [ "a" ] is a list, not a string in quotes; allowed is a name, like "gateway-17"`}},
		{"an object", `node_name = {}`, []string{
			`1:13: node_name: {} is an object, not a string in quotes; allowed is a name, like "gateway-17"`}},
		{"a function", `node_name = upper("x")`, []string{
			`1:13: node_name: upper("x") is a function, not a string in quotes; allowed is a name, like "gateway-17"`}},
		{"arithmetic in a string", `node_name = "a${1 + 1}"`, []string{
			`1:17: node_name: an expression is not evaluated; allowed is plain text in quotes`}},
		{"a line break", "node_name = <<X\na\nX\n", []string{
			`1:13: node_name: "a\n" has a control character or a line break; allowed is a name, like "gateway-17"`}},
		{"a long value", `log_level = "` + strings.Repeat("é", 70) + `"`, []string{
			`1:13: log_level: "` + strings.Repeat("é", 60) + `..." is unknown; allowed is trace, debug, info, warn or error`}},
		{"a variable", in(`"file" "f"`, `path = "/out/${host}/x"`), []string{
			`3:16: path: unknown variable "host"; allowed is ${stream}, ${env.NAME} or ${env("NAME", "default")}`}},
		{"a part of ${stream}", in(`"file" "f"`, `path = "${stream.name}"`), []string{
			`3:11: path: unknown variable "stream"; allowed is ${stream}, ${env.NAME} or ${env("NAME", "default")}`}},
		{"${stream} elsewhere", `data_dir = "/var/${stream}"`, []string{
			`1:20: data_dir: ${stream} is unknown here; it is allowed in the settings that name a destination's target`}},

		// names
		{"an unknown setting", "listener \"grpc\" {\n  address = \":0\"\n  insecur = true\n}", []string{
			`2:13: address: ":0" is not loopback: anybody who reaches it could append; allowed is a loopback address, a unix socket, tls and auth, or insecure = true`,
			`3:3: unknown setting "insecur" in listener "grpc"; did you mean "insecure"?`}},
		{"an unknown setting that is like none", "wal {\n  color = \"red\"\n}", []string{
			`2:3: unknown setting "color" in wal; allowed is max_size, segment_size, commit_linger, accepted_linger, checkpoint_interval, on_full, min_free, retain, max_age, producer_idle or lock_timeout`}},
		{"another listener's setting", `listener "socket" {` + "\naddress = \"127.0.0.1:1\"\nmax_request_size = \"1MiB\"\n}", []string{
			`3:1: unknown setting "max_request_size" in listener "socket"; allowed is address, mode, max_line_size, max_connections or insecure`}},
		{"a setting one block too far out", in(`"kinesis" "k"`, `stream = "a"`, `max_delay = "1s"`) + "\nmax_size = \"1GiB\"", []string{
			`4:1: unknown setting "max_delay" in destination "kinesis" "k"; it belongs in the batch block`,
			`7:1: unknown setting "max_size"; it belongs in the wal block`}},
		{"an unknown block", "listner \"grpc\" {}\nfoo {}", []string{
			`1:1: unknown block "listner"; did you mean "listener"?`,
			`2:1: unknown block "foo"; allowed is listener, admin, metrics, wal, aws, prices, identity, destination or stream`}},
		{"a block where none may be", "wal {\n  batch {}\n}", []string{
			`2:3: unknown block "batch" in wal; no block is allowed here, only the settings max_size, segment_size, commit_linger, accepted_linger, checkpoint_interval, on_full, min_free, retain, max_age, producer_idle, lock_timeout`}},
		{"a block as a setting", `wal = {}`, []string{
			`1:1: wal is a block, not a setting; allowed is wal { ... }`}},
		{"a setting as a block", `data_dir {}`, []string{
			`1:1: data_dir is a setting, not a block; allowed is data_dir = ...`}},
		{"labels", "listener {}\nwal \"x\" {}\nstream \"a\" \"b\" {}", []string{
			`1:1: listener has no label and needs one; allowed is listener "TYPE" { ... }`,
			`2:1: wal has one label, "x", and needs none; allowed is wal { ... }`,
			`3:1: stream has 2 labels and needs one; allowed is stream "NAME" { ... }`}},
		{"a block twice", "wal {}\nadmin {}\nwal {}\nwal {}", []string{
			`3:1: wal is given twice; it may stand once, first at line 1`,
			`4:1: wal is given twice; it may stand once, first at line 1`}},
		{"a block twice in another", in(`"file" "f"`, `path = "x"`, `batch {}`, `batch {}`), []string{
			`5:1: batch is given twice in destination "file" "f"; it may stand once, first at line 4`}},
		{"unknown types", "listener \"tcp\" {}\nlistener \"gprc\" {}\n" + in(`"kineses" "k"`), []string{
			`1:10: listener type "tcp" is unknown; allowed is grpc, socket, http or mqtt`,
			`2:10: listener type "gprc" is unknown; did you mean "grpc"?`,
			`4:13: destination type "kineses" is unknown; did you mean "kinesis"?`}},

		// values
		{"sizes", `
wal {
  max_size     = 8
  segment_size = "64"
}
listener "socket" {
  address       = "127.0.0.1:7711"
  max_line_size = "64.5MiB"
}
listener "grpc" {
  address          = "127.0.0.1:7710"
  max_request_size = "0B"
}`, []string{
			`3:18: max_size: 8 is a bare number, not a string in quotes; allowed is a size of 1MiB or more, like "8GiB"`,
			`4:18: segment_size: "64" has no unit; allowed is a size of 64KiB or more, like "64MiB"`,
			`8:19: max_line_size: "64.5MiB" is too large; allowed is a size from 1B to 64MiB, like "4MiB"`,
			`12:22: max_request_size: "0B" is too small; allowed is a size from 1B to 1GiB, like "16MiB"`}},
		{"a negative number", "wal {\n  max_size = -8\n}", []string{
			`2:14: max_size: -8 is a bare number, not a string in quotes; allowed is a size of 1MiB or more, like "8GiB"`}},
		{"rates", in(`"firehose" "f"`, `delivery_stream = "a"`, `quota {`, `bytes = "1MB"`, `records = "1.5/s"`, `requests = "0/s"`, `}`), []string{
			`5:9: bytes: "1MB" does not end with /s; allowed is a rate of 1B/s or more, like "1MB/s"`,
			`6:11: records: "1.5/s" is no whole number a second; allowed is a rate of 1/s or more, like "1000/s"`,
			`7:12: requests: "0/s" is too low; allowed is a rate of 1/s or more, like "1000/s"`}},
		{"more rates", in(`"kinesis" "k"`, `stream = "a"`, `quota {`, `bytes = "5/s"`, `records = "-1/s"`, `}`), []string{
			`5:9: bytes: "5/s" has no unit; allowed is a rate of 1B/s or more, like "1MB/s"`,
			`6:11: records: "-1/s" is negative; allowed is a rate of 1/s or more, like "1000/s"`}},
		{"a rate that is a number, and one too large", in(`"kinesis" "k"`, `stream = "a"`, `quota {`, `bytes = 5`, `records = "99999999999999999999/s"`, `}`), []string{
			`5:9: bytes: 5 is a bare number, not a string in quotes; allowed is a rate of 1B/s or more, like "1MB/s"`,
			`6:11: records: "99999999999999999999/s" is too large; allowed is a rate of 1/s or more, like "1000/s"`}},
		{"quotas out of place", in(`"kinesis" "k"`, `stream = "a"`, `pace = "off"`, `quota {`, `requests = "9/s"`, `}`), []string{
			`4:8: pace: "off" is neither true nor false; allowed is true or false, without quotes`,
			`6:1: unknown setting "requests" in quota; allowed is bytes or records`}},
		{"a quota of files", in(`"file" "f"`, `path = "x"`, `quota {}`), []string{
			`4:1: unknown block "quota" in destination "file" "f"; allowed is batch or retry`}},
		{"bandwidth", "bandwidth = \"off\"\n" + in(`"kinesis" "k"`, `stream = "a"`, `bandwidth = "1000B/s"`, `priority = "low"`), []string{
			`1:13: bandwidth: "off" does not end with /s; allowed is a rate of 1KiB/s or more, like "256KiB/s"`,
			`5:13: bandwidth: "1000B/s" is too low; allowed is a rate of 1KiB/s or more, like "256KiB/s"`,
			`6:1: unknown setting "priority" in destination "kinesis" "k"; allowed is stream, aggregate, aggregate_by, order, compression, pace, bandwidth, region, endpoint, profile, role_arn, external_id, session_name or envelope`}},
		{"records of a shard", in(`"kinesis" "k"`, `stream = "a"`, `aggregate_by = "shard"`, `order = "strict"`), []string{
			`4:16: aggregate_by: order = "strict" names each key's record before; allowed is shard with order = "key" or "none"`}},
		{"lines of a shard", in(`"kinesis" "k"`, `stream = "a"`, `aggregate_by = "shard"`, `aggregate = "lines"`), []string{
			`4:16: aggregate_by: "shard" puts several keys into a record, and aggregate = "lines" does not store the keys; ` +
				`allowed is shard with aggregate = "kpl"`}},
		{"priority", "stream \"a\" {\npriority = \"lowest\"\ndestination \"file\" \"f\" {\npath = \"x\"\nbandwidth = \"1MB/s\"\n}\n}", []string{
			`2:12: priority: "lowest" is unknown; allowed is high, normal or low`,
			`5:1: unknown setting "bandwidth" in destination "file" "f"; allowed is path, roll_size, roll_interval, file_mode or envelope`}},
		{"space for others", "wal { min_free = \"100%\" }", []string{
			`1:18: min_free: "100%" is no share under 100%; allowed is a size or a share under 100%, like "1GiB" or "5%"`}},
		{"space for others without a unit", "wal { min_free = \"5\" }", []string{
			`1:18: min_free: "5" has no unit; allowed is a size or a share under 100%, like "1GiB" or "5%"`}},
		{"a share that is no number", "wal { min_free = \"x%\" }", []string{
			`1:18: min_free: "x%" is no share; allowed is a size or a share under 100%, like "1GiB" or "5%"`}},
		{"durations", `
shutdown_timeout = 25
wal {
  commit_linger = "-1s"
  lock_timeout  = "0s"
  max_age       = "3 days"
  producer_idle = "1s"
}`, []string{
			`2:20: shutdown_timeout: 25 is a bare number, not a string in quotes; allowed is a duration of 0s or more, like "25s"`,
			`4:19: commit_linger: "-1s" is negative; allowed is a duration of 0s or more, like "2ms"`,
			`5:19: lock_timeout: "0s" is too short; allowed is a duration of 1ms or more, like "30s"`,
			`6:19: max_age: "3 days" is no duration (the units are ms, s, m and h); allowed is a duration of 0s or more, like "72h"`,
			`7:19: producer_idle: "1s" is too short; allowed is a duration of 1m or more, like "168h"`}},
		{"a stream's share", `
stream "a" {
  max_age  = "-1h"
  max_size = "1KiB"
  on_full  = "drop"
  destination "file" "f" { path = "x" }
}
stream "b" {
  on_full = "block"
  destination "file" "f" { path = "y" }
}`, []string{
			`3:14: max_age: "-1h" is negative; allowed is a duration of 0s or more, like "72h"`,
			`4:14: max_size: "1KiB" is too small; allowed is a size of 64KiB or more, like "1GiB"`,
			`5:14: on_full: "drop" is unknown; allowed is reject, block or drop_oldest`,
			`9:13: on_full: stream "b" has no max_size of its own to be full at; allowed is on_full beside max_size, or in wal`}},
		{"shares of fresh events", `stream "a" {
  fresh_share = 1
  destination "sqs" "f" { queue_url = "https://sqs.eu-west-1.amazonaws.com/123456789012/jobs" }
}
stream "b" {
  fresh_share = 0.3
  destination "file" "f" { path = "y" }
}
stream "c" {
  fresh_share = "0.3"
  destination "file" "f" { path = "z" }
}
stream "d" {
  catch_up    = "latest"
  fresh_share = 0.3
  destination "sqs" "f" { queue_url = "https://sqs.eu-west-1.amazonaws.com/123456789012/jobs" }
}
stream "e" {
  catch_up = "latest"
  destination "file" "f" { path = "u" }
}
stream "f" {
  catch_up = "newest"
  destination "file" "f" { path = "v" }
}`, []string{
			`2:17: fresh_share: 1 leaves nothing to older events; allowed is a decimal number over 0 and below 1, like 0.3`,
			`6:17: fresh_share: every destination of stream "b" keeps the order of the whole stream; allowed is fresh_share beside a kinesis, firehose or sqs destination, or kafka with at_least_once`,
			`10:17: fresh_share: "0.3" is no such number; allowed is a decimal number over 0 and at most 1 without quotes, like 0.1`,
			`15:17: fresh_share: catch_up = "latest" sends fresh events first; allowed is fresh_share beside catch_up = "oldest_first"`,
			`19:14: catch_up: every destination of stream "e" keeps the order of the whole stream; allowed is catch_up beside a kinesis, firehose or sqs destination, or kafka with at_least_once`,
			`23:14: catch_up: "newest" is unknown; allowed is oldest_first or latest`}},
		{"a bound of streams that are one", "stream \"a\" {\n  max_streams = 5\n  destination \"file\" \"f\" { path = \"x\" }\n}", []string{
			`2:17: max_streams: stream "a" is one stream; allowed is max_streams beside a pattern, like "meter-*"`}},
		{"words", "log_level = \"loud\"\nwal {\n  on_full = \"drop\"\n}", []string{
			`1:13: log_level: "loud" is unknown; allowed is trace, debug, info, warn or error`,
			`3:13: on_full: "drop" is unknown; allowed is reject, block or drop_oldest`}},
		{"empty names", "node_name = \"\"\ndata_dir = \" \"", []string{
			`1:13: node_name: "" is empty; allowed is a name, like "gateway-17"`,
			`2:12: data_dir: " " is empty; allowed is the path of a folder, like "/var/lib/standpipe"`}},
		{"flags", "admin {\n  insecure = \"yes\"\n}", []string{
			`2:14: insecure: "yes" is neither true nor false; allowed is true or false, without quotes`}},
		{"modes", `
listener "socket" {
  address = "unix:///run/x.sock"
  mode    = 0660
}
listener "socket" {
  address = "unix:///run/y.sock"
  mode    = "0888"
}
listener "socket" {
  address = "127.0.0.1:7711"
  mode    = "0660"
}`, []string{
			`4:13: mode: 0660 is a bare number, not a string in quotes; allowed is permissions in octal from "0000" to "0777", like "0660"`,
			`8:13: mode: "0888" is no file mode; allowed is permissions in octal from "0000" to "0777", like "0660"`,
			`12:13: mode: a TCP address has no file; allowed is mode beside a unix:/// address only`}},
		{"an endpoint and a role", "aws {\n  endpoint = \"localhost:4567\"\n  role_arn = \"standpipe\"\n}", []string{
			`2:14: endpoint: "localhost:4567" is no URL of a server; allowed is a URL, like "http://127.0.0.1:4567"`,
			`3:14: role_arn: "standpipe" is no role; allowed is a role, like "arn:aws:iam::123456789012:role/standpipe"`}},

		// addresses
		{"addresses", `
listener "grpc" { address = "127.0.0.1:99999" }
listener "grpc" { address = "7710" }
listener "grpc" { address = "127.0.0.1:http" }
listener "grpc" { address = "a b:1" }
listener "grpc" { address = "unix://run/x.sock" }
listener "grpc" { address = "unix:///run/` + strings.Repeat("x", 103) + `" }
listener "grpc" {}`, []string{
			`2:29: address: "127.0.0.1:99999" has no such port; allowed is ` + address,
			`3:29: address: "7710" is a port without a host; allowed is ` + address,
			`4:29: address: "127.0.0.1:http" has no such port; allowed is ` + address,
			`5:29: address: "a b:1" has no valid host; allowed is ` + address,
			`6:29: address: "unix://run/x.sock" has no absolute path of a file; allowed is ` + address,
			`7:29: address: "unix:///run/` + strings.Repeat("x", 48) + `..." has a path of 108 bytes, and a socket's has at most 107; allowed is ` + address,
			`8:1: listener "grpc" has no address; needed is ` + address}},
		{"addresses that others reach", `
listener "socket" { address = "192.0.2.1:7711" }
listener "grpc" { address = "[::]:7710" }
listener "grpc" { address = "gateway:7709" }
admin { address = "0.0.0.0:7712" }`, []string{
			`2:31: address: "192.0.2.1:7711" is not loopback: anybody who reaches it could append; allowed is a loopback address, a unix socket, tls and auth, or insecure = true`,
			`3:29: address: "[::]:7710" is not loopback: anybody who reaches it could append; allowed is a loopback address, a unix socket, tls and auth, or insecure = true`,
			`4:29: address: "gateway:7709" is not loopback: anybody who reaches it could append; allowed is a loopback address, a unix socket, tls and auth, or insecure = true`,
			`5:19: address: "0.0.0.0:7712" is not loopback: anybody who reaches it could read the agent's state and its dead letters; allowed is a loopback address, a unix socket, tls and auth, or insecure = true`}},
		{"an address twice", `
listener "grpc" { address = "127.0.0.1:7711" }
listener "socket" { address = "localhost:7711" }
listener "socket" { address = "unix:///run/x.sock" }
listener "socket" { address = "unix:///run//x.sock" }
listener "socket" { address = "127.0.0.1:7712" }
listener "socket" { address = "127.0.0.1:0" }
listener "grpc" { address = "127.0.0.1:0" }`, []string{
			`3:31: address: "localhost:7711" is taken by listener "grpc" at line 2; allowed is an address that no other block has`,
			`5:31: address: "/run//x.sock" is taken by listener "socket" at line 4; allowed is an address that no other block has`,
			`6:31: address: "127.0.0.1:7712" is taken by the default address of admin; allowed is an address that no other block has`}},
		{"the default listener's address", "admin {\n  address = \"127.0.0.1:7710\"\n}", []string{
			`2:13: address: "127.0.0.1:7710" is taken by the listener that is there by default; allowed is an address that no other block has`}},
		{"every address of the host", "admin {\n  address = \":7710\"\n  insecure = true\n}", []string{
			`2:13: address: ":7710" is taken by the listener that is there by default; allowed is an address that no other block has`}},
		{"tls and auth", `
listener "grpc" {
  address = "192.0.2.1:7710"
  tls {
    cert_file = "/etc/standpipe/server.pem"
    key_file  = ""
  }
  auth {}
}`, []string{
			`6:17: key_file: "" is empty; allowed is the path of a PEM file`,
			`8:3: auth accepts no caller; needed is token_file, or identities that identity blocks have`}},
		{"admin with auth that accepts no caller", `
admin {
  address = "0.0.0.0:7712"
  tls {
    cert_file = "/etc/standpipe/server.pem"
    key_file  = "/etc/standpipe/server.key"
  }
  auth {}
}
identity "metering" { uids = [1001] }`, []string{
			`8:3: auth accepts no caller; needed is token_file, or identities that identity blocks have`}},
		{"admin without TLS", `
admin {
  address = "0.0.0.0:7712"
  auth { identities = ["nobody"] }
}
identity "metering" { uids = [1001] }`, []string{
			`3:13: address: "0.0.0.0:7712" is not loopback: anybody who reaches it could read the agent's state and its dead letters; allowed is a loopback address, a unix socket, tls and auth, or insecure = true`,
			`4:23: identities: no identity block is called "nobody"; allowed are names that identity blocks have`}},
		{"tls without auth", `
listener "socket" {
  address = "0.0.0.0:7710"
  tls {
    cert_file = "/etc/standpipe/server.pem"
  }
}
listener "http" {
  address = "0.0.0.0:7711"
  auth { token_file = "" }
}`, []string{
			`3:13: address: "0.0.0.0:7710" is not loopback: anybody who reaches it could append; allowed is a loopback address, a unix socket, tls and auth, or insecure = true`,
			`4:3: tls has no key_file; needed is the path of a PEM file`,
			`9:13: address: "0.0.0.0:7711" is not loopback: anybody who reaches it could append; allowed is a loopback address, a unix socket, tls and auth, or insecure = true`,
			`10:23: token_file: "" is empty; allowed is ` + tokenFile}},
		{"identities", `
identity "a b" {
  streams = ["x", ".y"]
}
identity "meters" {
  uids         = [1001, -1]
  gids         = 100
  certificates = [""]
  max_events   = "1000"
  max_bytes    = "0B/s"
}
identity "meters" { uids = [0] }
listener "grpc" {
  address        = "127.0.0.1:7710"
  max_streams    = 0
  auth { identities = ["meters", "gauges"] }
}
listener "socket" {
  address         = "127.0.0.1:7711"
  max_connections = "9"
  auth { identities = [] }
}
listener "http" {
  address = "127.0.0.1:7713"
  auth { identities = "meters" }
}`, []string{
			`2:1: identity "a b" has no credentials; needed is token_file, certificates, uids or gids`,
			`2:10: identity name "a b" has the character ' '; allowed are A-Z a-z 0-9 . _ -`,
			`3:19: streams: ".y" is no stream's name or pattern; allowed is a list of streams' names or patterns, like ["meter-*"]`,
			`6:25: uids: -1 is no whole number from 0 to 4294967295; allowed is a list of user ids, like [1001]`,
			`7:18: gids: 100 is no list; allowed is a list of group ids, like [1001]`,
			`8:19: certificates: "" is empty; allowed is a list of names in certificates, like ["meter-*"]`,
			`9:18: max_events: "1000" does not end with /s; allowed is a rate of 1/s or more, like "1000/s"`,
			`10:18: max_bytes: "0B/s" is too low; allowed is a rate of 1B/s or more, like "1MiB/s"`,
			`12:10: identity "meters" is given twice; a name may stand once, first at line 5`,
			`15:20: max_streams: 0 is too low; allowed is a whole number from 1 to 1000000 without quotes, like 1024`,
			`16:23: identities: no identity block is called "gauges"; allowed are names that identity blocks have`,
			`20:21: max_connections: "9" is in quotes; allowed is a whole number from 1 to 1000000 without quotes, like 1024`,
			`21:3: auth accepts no caller; needed is token_file, or identities that identity blocks have`,
			`25:23: identities: "meters" is no list; allowed is a list of names that identity blocks have, like ["metering"]`}},

		{"an HTTP listener's values", `listener "http" {
  address = "127.0.0.1:7711"
  key_header = "X Key"
  key_field = "user..id"
  cors_origins = ["https://a.example", "https://b.example/"]
  max_connections = "1024"
  read_timeout = 30
}
listener "http" {
  address = "127.0.0.1:7713"
  cors_origins = "*"
  max_connections = 0.5
  otlp { key = "" }
}`, []string{
			`3:16: key_header: "X Key" has a character that is not of A-Z a-z 0-9 . _ -; allowed is the name of a header, like "X-Partition-Key"`,
			`4:15: key_field: "user..id" has an empty name between its dots; allowed is a field of a JSON body, like "user.id"`,
			`5:40: cors_origins: "https://b.example/" is no origin; allowed is a list of origins, like ["https://shop.example"], or ["*"]`,
			`6:21: max_connections: "1024" is in quotes; allowed is a whole number from 1 to 1000000 without quotes, like 1024`,
			`7:18: read_timeout: 30 is a bare number, not a string in quotes; allowed is a duration of 1ms or more, like "30s"`,
			`11:18: cors_origins: "*" is no list; allowed is a list of origins, like ["https://shop.example"], or ["*"]`,
			`12:21: max_connections: 0.5 is no whole number; allowed is a whole number from 1 to 1000000 without quotes, like 1024`,
			`13:3: otlp has no stream; needed is the name of a stream that a stream block has or matches`,
			`13:16: key: "" is empty; allowed is an attribute, like "service.name"`}},
		{"pixels", `listener "http" {
  address = "127.0.0.1:7711"
  pixel "p.gif" { stream = "b" }
  pixel "/v1/p" {
    stream  = "a"
    key     = "k"
    headers = ["User-Agent", 7]
  }
  pixel "/q" {
    stream = "a*"
    key = "k"
  }
  pixel "/q" {
    stream = "a"
    key = "k"
  }
}
` + in(`"file" "f"`, `path = "x"`), []string{
			`3:3: pixel "p.gif" has no key; needed is a parameter of the query, like "uid"`,
			`3:9: pixel path "p.gif" does not begin with /; allowed is a path outside of /v1/, like "/p.gif"`,
			`3:28: stream: no stream block matches "b"; allowed is the name of a stream that a stream block has or matches`,
			`4:9: pixel path "/v1/p" is the listener's own; allowed is a path outside of /v1/, like "/p.gif"`,
			`7:30: headers: 7 is a bare number, not a string in quotes; allowed is a list of headers, like ["User-Agent"]`,
			`10:14: stream: "a*" is no stream's name; allowed is the name of a stream that a stream block has or matches`,
			`13:9: pixel "/q" is given twice; a path may stand once in its listener`}},

		// streams
		{"no destination", `stream "a" {}`, []string{
			`1:1: stream "a" has no destination; needed is at least one block destination "TYPE" "NAME", or destinations = ["NAME"]`}},
		{"stream names", in(`"file" "f"`, `path = "x"`) + `
stream ".a" {
}
stream "a/*" {
}
stream "a**" {
}
stream "" {
}`, []string{
			`6:1: stream ".a" has no destination; needed is at least one block destination "TYPE" "NAME", or destinations = ["NAME"]`,
			`6:8: stream name ".a" starts with "."; a name starts with a letter, a digit or _`,
			`8:1: stream "a/*" has no destination; needed is at least one block destination "TYPE" "NAME", or destinations = ["NAME"]`,
			`8:8: stream name "a/*" has the character '/'; allowed are A-Z a-z 0-9 . _ -`,
			`10:1: stream "a**" has no destination; needed is at least one block destination "TYPE" "NAME", or destinations = ["NAME"]`,
			`10:8: stream name "a**" has two * in a row, which mean the same as one`,
			`12:1: stream "" has no destination; needed is at least one block destination "TYPE" "NAME", or destinations = ["NAME"]`,
			`12:8: stream name "" is empty; a name has 1 to 128 characters`}},
		{"a stream twice", in(`"file" "f"`, `path = "x"`) + "\n" + in(`"file" "f"`, `path = "y"`), []string{
			`6:8: stream "a" is given twice; a name or pattern may stand once, first at line 1`}},
		{"a stream's values", "stream \"a\" {\nformat = \"xml\"\nmax_event_size = \"1,5MiB\"\nack = \"sync\"\ndestination \"file\" \"f\" { path = \"x\" }\n}", []string{
			`2:10: format: "xml" is unknown; allowed is json, text or bytes`,
			`3:18: max_event_size: "1,5MiB" is no size; allowed is a size from 1B to 1GiB, like "1000KiB"`,
			`4:7: ack: "sync" is unknown; allowed is accepted, durable or delivered`}},

		// destinations
		{"what a destination needs", "stream \"a\" {\ndestination \"kinesis\" \"k\" {}\ndestination \"firehose\" \"f\" {}\ndestination \"file\" \"l\" {}\n}", []string{
			`2:1: destination "kinesis" "k" has no stream; needed is ` + kinesisStream,
			`3:1: destination "firehose" "f" has no delivery_stream; needed is the name of a Firehose stream`,
			`4:1: destination "file" "l" has no path; needed is ` + folder}},
		{"another destination's setting", in(`"file" "f"`, `stream = "a"`, `aws {}`), []string{
			`2:1: destination "file" "f" has no path; needed is ` + folder,
			`3:1: unknown setting "stream" in destination "file" "f"; allowed is path, roll_size, roll_interval, file_mode or envelope`,
			`4:1: unknown block "aws" in destination "file" "f"; allowed is batch or retry`}},
		{"an AWS setting in the block and beside it", in(`"kinesis" "k"`, `stream = "a"`, `region = "x"`, `profile = "p"`, `aws {`, `endpoint = ""`, `region = "x"`, `stream = "a"`, `}`), []string{
			`8:1: region is given twice in destination "kinesis" "k"; it may stand once, in the aws block or beside it as at line 4`,
			`9:1: unknown setting "stream" in aws; allowed is region, endpoint, profile, role_arn, external_id or session_name`}},
		{"an AWS setting of a file", in(`"file" "f"`, `path = "x"`, `region = "x"`), []string{
			`4:1: unknown setting "region" in destination "file" "f"; allowed is path, roll_size, roll_interval, file_mode or envelope`}},
		{"an AWS setting beside the block that is wrong", in(`"firehose" "f"`, `delivery_stream = "a"`, `endpoint = "localhost"`, `regoin = "x"`), []string{
			`4:12: endpoint: "localhost" is no URL of a server; allowed is a URL, like "http://127.0.0.1:4567"`,
			`5:1: unknown setting "regoin" in destination "firehose" "f"; did you mean "region"?`}},
		{"destination names", "stream \"a\" {\ndestination \"file\" \"f\" { path = \"x\" }\ndestination \"file\" \"f\" { path = \"y\" }\ndestination \"file\" \"a b\" { path = \"z\" }\n}", []string{
			`3:20: destination "f" is given twice in stream "a"; a name may stand once, first at line 2`,
			`4:20: destination name "a b" has the character ' '; allowed are A-Z a-z 0-9 . _ -`}},
		{"one path twice", "stream \"a\" {\ndestination \"file\" \"f\" { path = \"x\" }\ndestination \"file\" \"g\" { path = \"x/\" }\n}", []string{
			`3:33: path: "x/" is the path of destination "f" at line 2 too; allowed is a folder of its own`}},
		{"one path twice for one stream of a pattern", "stream \"a*\" {\ndestination \"file\" \"f\" { path = \"/out/${stream}/${stream}\" }\ndestination \"file\" \"g\" { path = \"/out/ab/ab\" }\n}", []string{
			`3:33: path: "/out/ab/ab" is the path of destination "f" at line 2 too; allowed is a folder of its own`}},
		{"one path twice, once by the stream's name", "stream \"a\" {\ndestination \"file\" \"f\" { path = \"/a\" }\ndestination \"file\" \"g\" { path = \"/${stream}\" }\n}", []string{
			`3:33: path: "/${stream}" is the path of destination "f" at line 2 too; allowed is a folder of its own`}},
		{"a path among the folders of another", "stream \"a\" {\ndestination \"file\" \"f\" { path = \"/out/x/..\" }\ndestination \"file\" \"g\" { path = \"/out/2026/11\" }\n}", []string{
			`3:33: path: "/out/2026/11" lies in the path of destination "f" at line 2; allowed is a folder beside it`}},
		{"a path that has another among its folders", "stream \"a\" {\ndestination \"file\" \"f\" { path = \"/out/2026\" }\ndestination \"file\" \"g\" { path = \"/out\" }\n}", []string{
			`3:33: path: "/out" contains the path of destination "f" at line 2; allowed is a folder beside it`}},
		{"a stream's name at AWS", in(`"kinesis" "k"`, `stream = "arn:aws:kinesis:x"`) + "\n" + strings.Replace(in(`"firehose" "f"`, `delivery_stream = ""`), `"a"`, `"b"`, 1), []string{
			`3:10: stream: "arn:aws:kinesis:x" is no ARN of a Kinesis stream; allowed is ` + kinesisStream,
			`8:19: delivery_stream: "" is empty; allowed is the name of a Firehose stream`}},
		{"a stream's ARN", "stream \"a\" {\n" +
			"destination \"kinesis\" \"a\" { stream = \"arn:aws:firehose:eu-west-1:123456789012:deliverystream/a\" }\n" +
			"destination \"kinesis\" \"b\" { stream = \"arn:aws:kinesis:eu-west-1:1234:stream/a\" }\n" +
			"destination \"kinesis\" \"c\" { stream = \"arn:aws:kinesis::123456789012:stream/a\" }\n" +
			"destination \"kinesis\" \"d\" { stream = \"arn:aws:kinesis:${stream}:123456789012:stream/a\" }\n" +
			"destination \"kinesis\" \"e\" { stream = \"arn:aws:kinesis:eu-west-1:123456789012:stream/\" }\n" +
			"destination \"kinesis\" \"f\" { stream = \"arn:aws:kinesis:eu-west-1:123456789012:stream/a/b\" }\n" +
			"destination \"kinesis\" \"g\" { stream = \"aws:kinesis\" }\n" +
			"destination \"firehose\" \"h\" { delivery_stream = \"arn:aws:firehose:x\" }\n}", []string{
			`2:38: stream: "arn:aws:firehose:eu-west-1:123456789012:deliverystream/a" is no ARN of a Kinesis stream; allowed is ` + kinesisStream,
			`3:38: stream: "arn:aws:kinesis:eu-west-1:1234:stream/a" is no ARN of a Kinesis stream; allowed is ` + kinesisStream,
			`4:38: stream: "arn:aws:kinesis::123456789012:stream/a" is no ARN of a Kinesis stream; allowed is ` + kinesisStream,
			`5:38: stream: "arn:aws:kinesis:${stream}:123456789012:stream/a" is no ARN of a Kinesis stream; allowed is ` + kinesisStream,
			`6:38: stream: "arn:aws:kinesis:eu-west-1:123456789012:stream/" has a name that is empty; allowed is ` + kinesisStream,
			`7:38: stream: "arn:aws:kinesis:eu-west-1:123456789012:stream/a/b" has a name that has a character that is not of A-Z a-z 0-9 . _ -; allowed is ` + kinesisStream,
			`8:38: stream: "aws:kinesis" has a character that is not of A-Z a-z 0-9 . _ -; allowed is ` + kinesisStream,
			`9:48: delivery_stream: "arn:aws:firehose:x" has a character that is not of A-Z a-z 0-9 . _ -; allowed is the name of a Firehose stream`}},
		{"a record over Kinesis's limit", in(`"kinesis" "k"`, `stream = "a"`, `aggregate = "all"`, `order = "total"`, `batch { record_size = "1025KiB" }`), []string{
			`4:13: aggregate: "all" is unknown; allowed is kpl, lines or none`,
			`5:9: order: "total" is unknown; allowed is key, strict or none`,
			`6:23: record_size: "1025KiB" is too large; allowed is a size from 1B to 1MiB, like "500KiB"`}},
		{"a record over Firehose's limit", in(`"firehose" "f"`, `delivery_stream = "a"`, `batch { record_size = "1MiB" }`), []string{
			`4:23: record_size: "1MiB" is too large; allowed is a size from 1B to 1000KiB, like "500KiB"`}},
		{"retries", in(`"file" "f"`, `path = "x"`, `retry {`, `initial = "1m"`, `timeout = "0s"`, `}`), []string{
			`5:11: initial: 1m is over max; allowed is at most 30s`,
			`6:11: timeout: "0s" is too short; allowed is a duration of 1ms or more, like "30s"`}},
		{"a retry without a limit that can be read", in(`"file" "f"`, `path = "x"`, `retry {`, `initial = "1m"`, `max = "5"`, `}`), []string{
			`6:7: max: "5" has no unit; allowed is a duration of 1ms or more, like "30s"`}},
		{"rolls", in(`"file" "f"`, `path = "x"`, `roll_size = "0B"`, `roll_interval = "1 day"`), []string{
			`4:13: roll_size: "0B" is too small; allowed is a size of 1B or more, like "64MiB"`,
			`5:17: roll_interval: "1 day" is no duration (the units are ms, s, m and h); allowed is a duration of 1ms or more, like "60s"`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := config.Parse([]byte(tt.src), "agent.hcl")
			var faults *config.FaultsError
			if !errors.As(err, &faults) {
				t.Fatalf("got %v, want a FaultsError", err)
			}
			got := strings.Split(err.Error(), "\n")
			for i := range max(len(got), len(tt.want)) {
				g, w := "no fault", "no fault"
				if i < len(got) {
					g = got[i]
				}
				if i < len(tt.want) {
					w = "agent.hcl:" + tt.want[i]
				}
				if g != w {
					t.Errorf("fault %d:\ngot  %s\nwant %s", i, g, w)
				}
			}
		})
	}
}

func TestSizes_Invalid(t *testing.T) {
	for text, want := range map[string]string{
		"":        "is no size",
		"GiB":     "is no size",
		"1 2MiB":  "is no size",
		"1XiB":    "is no size",
		"1,000KB": "is no size",
		"1e3KiB":  "is no size",
		"٣KiB":    "is no size",
		"8":       "has no unit",
		"1024.0":  "has no unit",
		"-1MiB":   "is negative",
		"8EiB":    "is too large",
		"1000EiB": "is too large",
		"1KiB":    "is too small",
	} {
		_, err := config.Parse([]byte("wal {\n  max_size = \""+text+"\"\n}"), "a.hcl")
		want := `a.hcl:2:14: max_size: "` + text + `" ` + want + `; allowed is a size of 1MiB or more, like "8GiB"`
		if err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

func TestFile_TooLarge(t *testing.T) {
	_, err := config.Parse(make([]byte, 1<<20+1), "a.hcl")
	want := "a.hcl:1:1: the file has 1048577 bytes; allowed is at most 1048576"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// HCL's parser would use up the stack, which ends the process.
func TestFile_NestedTooDeep(t *testing.T) {
	for _, run := range []string{"(", "[", "{a=", "\"${", "\"%{if ", "!", "-", "a[", "x?", "x?y:", "[for a in ", "f("} {
		src := "node_name = " + strings.Repeat(run, 1<<17/len(run))
		_, err := config.Parse([]byte(src), "a.hcl")
		if err == nil || !strings.Contains(err.Error(), "more than 100 brackets and operators within each other") {
			t.Errorf("%s: got %.200v, want a fault", run, err)
		}
	}
}

// One folder by two names: from the root and from here, and by a symbolic link.
func TestFaults_OnePathByTwoNames(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if err := os.MkdirAll(filepath.Join(dir, "real"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(dir, "real"), filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for _, paths := range [][2]string{
		{"out", filepath.Join(dir, "out")}, {"./out", "out/"}, {"link", "real"}, {"link/a/b", filepath.Join(dir, "real", "a", "b")},
		{"link/${stream}", "real/a"}, {"link", "real/2026"}, {"out/2026", filepath.Join(dir, "out")},
	} {
		text := fmt.Sprintf("stream \"a\" {\ndestination \"file\" \"f\" { path = %q }\ndestination \"file\" \"g\" { path = %q }\n}", paths[0], paths[1])
		if _, err := config.Parse([]byte(text), "agent.hcl"); err == nil || !strings.Contains(err.Error(), `destination "f" at line 2`) {
			t.Errorf("%q: got %v, want a fault", paths, err)
		}
	}
}

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/cmd/standpipe/internal/cli"
)

func newInitCommand() *cobra.Command {
	var kind string
	c := &cobra.Command{
		Use:   "init [FILE]",
		Short: "Write a configuration to begin with",
		Long: `Write a commented configuration to begin with to FILE (default: agent.hcl; - is
standard output). A file that exists is not changed.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			text, ok := starterOf(kind)
			if !ok {
				return &cli.ExitError{Code: cli.ExitUsage, Err: fmt.Errorf("unknown --destination %q; known are %s", kind, strings.Join(config.DestinationTypes(), ", "))}
			}
			name := "agent.hcl"
			if len(args) > 0 {
				name = args[0]
			}
			if name == "-" {
				_, err := fmt.Fprint(c.OutOrStdout(), text)
				return err
			}
			if err := writeNew(name, text); err != nil {
				return err
			}
			_, err := fmt.Fprintf(c.OutOrStdout(), "wrote %[1]s; next:\n  standpipe validate %[1]s\n  standpipe doctor %[1]s\n  standpipe agent --config %[1]s\n", name)
			return err
		},
	}
	c.Flags().StringVar(&kind, "destination", "file", "the `type` of the destination: "+strings.Join(config.DestinationTypes(), ", "))
	_ = c.RegisterFlagCompletionFunc("destination", cobra.FixedCompletions(config.DestinationTypes(), cobra.ShellCompDirectiveNoFileComp))
	return c
}

// writeNew writes a file that must not exist.
func writeNew(name, text string) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists and is not changed; name another file", name)
	}
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// starterOf returns the starter with a destination of the type.
func starterOf(kind string) (text string, ok bool) {
	block, ok := starterDestinations[kind]
	if !ok {
		return "", false
	}
	aws := ""
	if block.aws {
		aws = starterAWS
	}
	return fmt.Sprintf(starter, aws, strings.ReplaceAll(strings.TrimSpace(block.text), "\n", "\n  ")), true
}

const starter = `# Configuration of standpipe. Check it with: standpipe validate agent.hcl
# All settings: docs/configuration.md. Strings may contain ${env.NAME} and ${env("NAME", "default")}.

data_dir = "/var/lib/standpipe" # the write-ahead log; the agent creates the folder

# Producers send to listeners on this host.
listener "grpc" {
  address = "127.0.0.1:7710"
}
listener "http" {
  address = "127.0.0.1:7711" # curl -d '{"n":1}' '127.0.0.1:7711/v1/streams/clicks?key=u1'
}
listener "socket" {
  address = "unix:///run/standpipe/events.sock" # lines of JSON
}

# Metrics, health, status and the page for operators.
admin {
  address = "127.0.0.1:7712"
}

# An event is acknowledged once it is synced here, and stays until it is delivered.
wal {
  max_size = "8GiB"   # events per second x size x the longest outage, and a third more
  on_full  = "reject" # or block, or drop_oldest
  min_free = "5%%"     # of the file system, left to others
}
%s
# A stream is created by its first event. A pattern like "meter-*" stands for many.
stream "clicks" {
  format = "json" # or text, or bytes

  %s
}
`

const starterAWS = `
# Credentials come from the default chain of the SDK: environment, profile, or the role of the host.
aws {
  region = "eu-west-1"
  # role_arn = "arn:aws:iam::123456789012:role/standpipe"
}
`

// starterDestinations are the destination blocks of the starters, by type.
var starterDestinations = map[string]struct {
	text string
	aws  bool // it needs the aws block
}{
	"kinesis": {aws: true, text: `
# Rights: standpipe iam agent.hcl
destination "kinesis" "live" {
  stream = "clicks"
  # aggregate = "lines" # for consumers without the KCL's library; default: kpl
  batch {
    max_delay = "1s" # the longest wait of an event to be batched
  }
}`},
	"firehose": {aws: true, text: `
# Rights: standpipe iam agent.hcl
destination "firehose" "archive" {
  delivery_stream = "clicks-archive"
}`},
	"file": {text: `
destination "file" "local" {
  path          = "/var/lib/standpipe/out/${stream}" # YYYY/MM/DD/HH below it
  roll_size     = "64MiB"
  roll_interval = "60s"
}`},
	"kafka": {text: `
destination "kafka" "bus" {
  brokers  = ["127.0.0.1:9092"]
  topic    = "clicks"
  delivery = "at_least_once" # or exactly_once
  # tls { ca_file = "/etc/standpipe/kafka-ca.pem" }
  # sasl {
  #   mechanism     = "SCRAM-SHA-512"
  #   username      = "standpipe"
  #   password_file = "/etc/standpipe/kafka-password"
  # }
}`},
	"s3": {aws: true, text: `
# Rights: standpipe iam agent.hcl
destination "s3" "lake" {
  bucket        = "my-events"
  prefix        = "raw/${stream}/dt=%Y-%m-%d/hour=%H/" # of the time of writing, in UTC
  format        = "jsonl"                              # or parquet
  compression   = "gzip"                               # or zstd, none
  roll_interval = "5m"
}`},
	"sqs": {aws: true, text: `
# Rights: standpipe iam agent.hcl
destination "sqs" "jobs" {
  queue_url = "https://sqs.eu-west-1.amazonaws.com/123456789012/jobs.fifo"
}`},
	"relay": {text: `
# Another standpipe, at its gRPC listener. Each event arrives once.
destination "relay" "site" {
  address = "gateway.example:7710"
  tls {
    ca_file = "/etc/standpipe/site-ca.pem"
  }
  token_file = "/etc/standpipe/site-token"
}`},
	"statsd": {text: `
# An event adds 1 to its series.
destination "statsd" "counts" {
  address    = "udp://127.0.0.1:8125"
  metric     = "events.${name}"
  name_field = "name" # of the event's JSON
  interval   = "10s"
}`},
	"stdout": {text: `
destination "stdout" "console" {}`},
}

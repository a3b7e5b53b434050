package config_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/standpipe/standpipe/agent/config"
)

// faultsOf parses an invalid file and returns its faults without the file's name.
func faultsOf(t *testing.T, src string) []string {
	t.Helper()
	_, err := config.Parse([]byte(src), "agent.hcl")
	var faults *config.FaultsError
	if !errors.As(err, &faults) {
		t.Fatalf("got %v, want a FaultsError", err)
	}
	return strings.Split(strings.ReplaceAll(err.Error(), "agent.hcl:", ""), "\n")
}

func TestFaults_OfCostSettings(t *testing.T) {
	for _, tt := range []struct {
		name, src, want string
	}{
		{"an order that Firehose has not", in(`"firehose" "f"`, `delivery_stream = "a"`, `order = "strict"`),
			`4:9: order: "strict" is unknown; allowed is key or none`},
		{"a flag in quotes", in(`"firehose" "f"`, `delivery_stream = "a"`, `one_key_per_record = "yes"`),
			`4:22: one_key_per_record: "yes" is neither true nor false; allowed is true or false, without quotes`},
		{"an unknown compression", in(`"firehose" "f"`, `delivery_stream = "a"`, `compression = "snappy"`),
			`4:15: compression: "snappy" is unknown; allowed is none, gzip or zstd`},
		{"compression of aggregated records", in(`"kinesis" "k"`, `stream = "a"`, `compression = "gzip"`),
			`4:15: compression: the library of consumers splits records with aggregate = "kpl", and cannot split compressed ones; ` +
				`allowed is gzip with aggregate = "lines" or "none"`},
		{"compression and dynamic partitioning", in(`"firehose" "f"`, `delivery_stream = "a"`, `compression = "zstd"`, `one_key_per_record = true`),
			`4:15: compression: dynamic partitioning, which one_key_per_record is for, can't read a compressed record; allowed is one of the two`},
		{"compression of a file", in(`"file" "f"`, `path = "a"`, `compression = "gzip"`),
			`4:1: unknown setting "compression" in destination "file" "f"; allowed is path, roll_size, roll_interval, file_mode or envelope`},
		{"an envelope in quotes", in(`"file" "f"`, `path = "a"`, `envelope = "true"`),
			`4:12: envelope: "true" is unknown; allowed is true, false or "json"`},
		{"a price", "prices {\n  firehose_gb = \"0,029\"\n}",
			`2:17: firehose_gb: "0,029" is no price; allowed is a decimal number over 0 in quotes, like "0.029", or "" for none`},
		{"a bare price", "prices {\n  kinesis_gb = 0.08\n}",
			`2:16: kinesis_gb: 0.08 is a bare number, not a string in quotes; allowed is a decimal number over 0 in quotes, like "0.029", or "" for none`},
		{"a price of nothing", "prices {\n  kinesis_gb = \"0\"\n}",
			`2:16: kinesis_gb: "0" is no price; allowed is a decimal number over 0 in quotes, like "0.029", or "" for none`},
		{"no currency", "prices {\n  currency = \"\"\n}",
			`2:14: currency: "" is empty; allowed is a currency, like "USD"`},
		{"two prices of Kinesis", "prices {\n  kinesis_gb = \"1\"\n  kinesis_million_units = \"2\"\n}",
			`3:27: kinesis_million_units: kinesis_gb is set too; allowed is one of the two: a stream is paid for on demand, by GB, or provisioned, by units`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := faultsOf(t, tt.src); len(got) != 1 || got[0] != tt.want {
				t.Errorf("got  %s\nwant %s", strings.Join(got, "\n     "), tt.want)
			}
		})
	}
}

func TestPrices(t *testing.T) {
	c := parse(t, "prices {\n  currency = \"EUR\"\n  firehose_gb = \"0.03\"\n  kinesis_million_units = \"\"\n}")
	if want := (config.Prices{Currency: "EUR", FirehoseGB: 0.03}); c.Prices != want {
		t.Errorf("got %+v, want %+v", c.Prices, want)
	}
	for _, tt := range []struct {
		prices config.Prices
		of     string
		units  float64
		want   float64
		known  bool
	}{
		{config.Prices{FirehoseGB: 0.5}, "firehose", 3e6, 1, true},
		{config.Prices{FirehoseGB: 0.5}, "kinesis", 3e6, 0, false},
		{config.Prices{FirehoseGB: 0.5}, "file", 0, 0, false},
		{config.Prices{KinesisGB: 0.25}, "kinesis", 3e6, 0.5, true},
		{config.Prices{KinesisMillionUnits: 0.25}, "kinesis", 3e6, 0.75, true},
		{config.Prices{S3ThousandRequests: 0.5, S3GB: 3}, "s3", 0, 506, true},
		{config.Prices{S3GB: 3}, "s3", 0, 6, true},
		{config.Prices{SQSMillionRequests: 0.5}, "sqs", 3e6, 1.5, true},
		{config.Prices{SQSMillionRequests: 0.5}, "sqs", 0, 0.5, true}, // each request is one step at least
		{config.Prices{SQSMillionRequests: 0.5}, "s3", 0, 0, false},
		{config.Prices{S3GB: 0.5}, "kafka", 0, 0, false},
		{config.Prices{KafkaGB: 0.5}, "kafka", 0, 1, true},
		{config.Prices{KafkaGB: 0.5}, "relay", 0, 0, false},
		{config.Prices{S3GB: 0.5}, "unknown", 0, 0, false},
		{config.Prices{}, "firehose", 3e6, 0, false},
	} {
		got, known := tt.prices.Of(tt.of, config.Usage{BilledBytes: 2 * config.PricedGB, Units: tt.units, Requests: 1e6})
		if got != tt.want || known != tt.known {
			t.Errorf("%+v of %s: got %v, %v, want %v, %v", tt.prices, tt.of, got, known, tt.want, tt.known)
		}
	}
}

package config_test

import (
	"testing"

	"github.com/standpipe/standpipe/agent/config"
)

func TestCatchUp_IsOfDestinationsThatKeepNoOrderOfTheStream(t *testing.T) {
	c := parse(t, `
aws { region = "eu-west-1" }
destination "sqs" "jobs" { queue_url = "https://sqs.eu-west-1.amazonaws.com/123456789012/jobs" }
stream "a" {
  fresh_share  = 0.3
  destinations = ["jobs"]
  destination "kinesis" "live" { stream = "a" }
  destination "file" "local" { path = "out" }
  destination "kafka" "once" {
    brokers  = ["127.0.0.1:9092"]
    topic    = "a"
    delivery = "exactly_once"
  }
}
stream "b" {
  catch_up     = "latest"
  destinations = ["jobs"]
}
stream "c" { destinations = ["jobs"] }`)
	want := map[string]float64{"live": 0.3, "jobs": 0.3, "local": 0, "once": 0}
	for _, d := range c.Streams[0].Destinations {
		if got := d.CatchUp.FreshShare; got != want[d.Name] {
			t.Errorf("%s: got %v, want %v", d.Name, got, want[d.Name])
		}
	}
	for i, want := range []string{config.OldestFirst, config.Latest, ""} {
		if got := c.Streams[i].Destinations[0].CatchUp.Order; got != want {
			t.Errorf("stream %d: got %s, want %s", i, got, want)
		}
	}
}

//go:build linux

package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/standpipe/standpipe/client"
	"github.com/standpipe/standpipe/test/testkit"
)

// The measurements of this file run where STANDPIPE_E2E_RATES is set, to the seconds of one part. What is compared takes turns.
func rateSeconds(t *testing.T) time.Duration {
	t.Helper()
	endToEnd(t)
	seconds := number(t, "STANDPIPE_E2E_RATES", 0)
	if seconds == 0 {
		t.Skip("a measurement of minutes: STANDPIPE_E2E_RATES=5 runs it")
	}
	return time.Duration(seconds) * time.Second
}

// compare runs each part in turn, five times, and logs the medians.
func compare(t *testing.T, names []string, run func(name string) (eventsPerSecond float64)) {
	t.Helper()
	rates := make(map[string][]float64)
	for range 5 {
		for _, name := range names {
			rates[name] = append(rates[name], run(name))
		}
	}
	for _, name := range names {
		slices.Sort(rates[name])
	}
	for _, name := range names {
		median, of := rates[name][2], rates[names[0]][2]
		t.Logf("%-8s %7.0f events/s (%.0f to %.0f), %.2f of %s", name, median, rates[name][0], rates[name][4], median/of, names[0])
	}
}

// Callers that send one event of 1 KiB, and the next one when it is acknowledged: over gRPC, and by MQTT with QoS 1 and 2.
func TestRates_MQTTBesideGRPC(t *testing.T) {
	d := rateSeconds(t)
	a := newMQTTAgent(t, "", "")
	payload := strings.Repeat("x", 1024)
	publish := func(i int, qos byte, end time.Time) (n int, err error) {
		c, err := (&device{name: fmt.Sprint("caller", i), version: 5}).dial(a.mqtt)
		if err != nil {
			return 0, err
		}
		defer c.to.Close()
		for ; time.Now().Before(end); n++ {
			p := &inAir{number: n, id: c.freeID(), qos: qos}
			c.flight = append(c.flight, p)
			c.publishText(p, payload, false)
			if err := c.flush(); err != nil {
				return n, err
			}
			for len(c.flight) > 0 {
				if err := c.receive(); err != nil {
					return n, err
				}
				if err := c.flush(); err != nil {
					return n, err
				}
			}
		}
		return n, nil
	}
	unary := func(i int, _ byte, end time.Time) (n int, err error) {
		c, err := client.Dial(a.grpc, client.Options{})
		if err != nil {
			return 0, err
		}
		defer c.Close()
		for ; time.Now().Before(end); n++ {
			if _, err := c.Append(t.Context(), "readings", client.Event{Key: fmt.Sprint("caller", i), Data: []byte(payload)}); err != nil {
				return n, err
			}
		}
		return n, nil
	}
	for _, callers := range []int{1, 64} {
		t.Logf("%d callers", callers)
		compare(t, []string{"grpc", "qos 1", "qos 2"}, func(name string) float64 {
			var total atomic.Int64
			var all sync.WaitGroup
			send, qos := publish, byte(1)
			switch name {
			case "grpc":
				send = unary
			case "qos 2":
				qos = 2
			}
			began, end := time.Now(), time.Now().Add(d)
			for i := range callers {
				all.Go(func() {
					n, err := send(i, qos, end)
					if err != nil {
						t.Error(err)
					}
					total.Add(int64(n))
				})
			}
			all.Wait()
			return float64(total.Load()) / time.Since(began).Seconds()
		})
	}
}

// Ten thousand MQTT clients that do nothing after CONNECT and one publish each.
func TestRates_IdleMQTTClients(t *testing.T) {
	rateSeconds(t)
	const clients = 10_000
	a := newMQTTAgent(t, "max_connections = 11000", "")
	before, err := anonymousOf(a.cmd.Process.Pid)
	testkit.Must(t, err)
	for i := range clients {
		c, err := (&device{name: fmt.Sprint("idle", i), version: 5}).dial(a.mqtt)
		testkit.Must(t, err)
		defer c.to.Close()
		p := &inAir{id: 1, qos: 1}
		c.flight = append(c.flight, p)
		c.publishText(p, "on", false)
		testkit.Must(t, c.flush())
		testkit.Must(t, c.receive())
	}
	<-time.After(10 * time.Second)
	after, err := anonymousOf(a.cmd.Process.Pid)
	testkit.Must(t, err)
	t.Logf("%d MB anonymous with %d clients, %d MB without", after/1e6, clients, before/1e6)
}

// One publisher of each client, with its default settings, as fast as it can: events of 1 KiB.
func TestRates_ClientsOfOtherLanguages(t *testing.T) {
	rateSeconds(t)
	const events, size = 100_000, 1024
	python, wheel := standin(t, "py", "bin", "python"), installWheel(t)
	node := installTarball(t, "testdata/clients/rate.mjs")
	a := startAgent(t, "", streamBlock("clicks", fileDestination))
	script := func(command ...string) float64 {
		cmd := exec.Command(command[0], command[1:]...)
		cmd.Env = append(os.Environ(), "PYTHONPATH="+wheel)
		out, err := cmd.Output()
		testkit.Must(t, err)
		rate, err := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
		testkit.Must(t, err)
		return rate
	}
	inGo := func() float64 {
		c, err := client.Dial(a.grpc, client.Options{})
		testkit.Must(t, err)
		defer c.Close()
		data := []byte(`"` + strings.Repeat("x", size-2) + `"`)
		began := time.Now()
		p := c.Publisher("clicks", client.PublisherOptions{})
		for i := range events {
			if _, err := p.Publish(t.Context(), client.Event{Key: fmt.Sprint("key-", i%1000), Data: data}); err != nil {
				t.Fatal(err)
			}
		}
		testkit.Must(t, p.Close(t.Context()))
		return events / time.Since(began).Seconds()
	}
	n, bytes := strconv.Itoa(events), strconv.Itoa(size)
	compare(t, []string{"go", "python", "asyncio", "node"}, func(name string) float64 {
		switch name {
		case "go":
			return inGo()
		case "node":
			return script("node", node, a.grpc, "clicks", n, bytes)
		}
		return script(python, "testdata/clients/rate.py", name, a.grpc, "clicks", n, bytes)
	})
}

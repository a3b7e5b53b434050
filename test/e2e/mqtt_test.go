//go:build unix

package e2e_test

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/standpipe/standpipe/test/testkit"
)

// mqttAgent is an agent with an MQTT listener whose events are delivered to a file with all that they have.
type mqttAgent struct {
	*agent
	mqtt string
}

// newMQTTAgent starts an agent. settings are more of the listener's, extra goes above the streams.
func newMQTTAgent(t *testing.T, settings, extra string) *mqttAgent {
	t.Helper()
	a := &mqttAgent{agent: newAgent(t, extra, ""), mqtt: testkit.FreeAddress(t)}
	a.head += fmt.Sprintf(`
listener "mqtt" {
  address = %q
  %s
  topic "site/+/sensor/+/#" {
    stream = "readings"
    key    = "${topic[3]}"
  }
}
`, a.mqtt, settings)
	a.acks("durable")
	a.start()
	return a
}

// acks sets the ack level of the stream, from the next start on.
func (a *mqttAgent) acks(level string) {
	a.t.Helper()
	a.configure(fmt.Sprintf(`
stream "readings" {
  format = "text"
  ack    = %q
  destination "file" "local" {
    path     = "${dir}/out/${stream}"
    envelope = true
  }
}
`, level))
}

func (a *mqttAgent) port() string {
	_, port, _ := net.SplitHostPort(a.mqtt)
	return port
}

// mqttEvent is an event as the file has it.
type mqttEvent struct {
	Key        string
	Data       string
	Attributes map[string]string
}

// delivered returns the events of a stopped agent.
func (a *mqttAgent) delivered() (events []mqttEvent) {
	a.t.Helper()
	for line := range strings.Lines(contents(a.t, a.path("out/readings"))) {
		var e mqttEvent
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			a.t.Fatal(err)
		}
		events = append(events, e)
	}
	return events
}

// publisher is a program that publishes the payloads NAME-0 to NAME-(N-1), and prints those that are acknowledged.
type publisher struct {
	*process
	name string
}

// publishers returns programs of others, one for each client library, QoS and version.
func (a *mqttAgent) publishers(n int, levels ...int) (all []*publisher) {
	a.t.Helper()
	for _, qos := range levels {
		for _, version := range []int{4, 5} {
			arguments := []string{strconv.Itoa(n), strconv.Itoa(qos), strconv.Itoa(version)}
			for library, line := range map[string][]string{
				"paho":     {standin(a.t, "py", "bin", "python"), testdata(a.t, "mqtt_publish.py"), a.port()},
				"js":       {"node", testdata(a.t, "mqtt_publish.js"), "mqtt://" + a.mqtt},
				"js-by-ws": {"node", testdata(a.t, "mqtt_publish.js"), "ws://" + a.mqtt},
			} {
				name := fmt.Sprintf("%s-%d-%d", library, qos, version)
				cmd := exec.Command(line[0], append(append(line[1:], name), arguments...)...)
				cmd.Env = append(os.Environ(), "NODE_PATH="+standin(a.t, "node_modules"))
				all = append(all, &publisher{process: startProcess(a.t, cmd), name: name})
			}
		}
	}
	return all
}

func testdata(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("testdata", name))
	testkit.Must(t, err)
	return path
}

// acked returns the payloads that the program has printed.
func (p *publisher) acked() (payloads []string) {
	for line := range strings.Lines(p.out.String()) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, p.name+"-") {
			payloads = append(payloads, line)
		}
	}
	return payloads
}

// The client libraries of others publish: each event arrives once, under its key, in its order.
func TestMQTT_ClientsOfOthers(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	const n = 200
	a := newMQTTAgent(t, "", "")
	all := a.publishers(n, 0, 1, 2)
	for _, p := range all {
		if code := p.exit(2 * time.Minute); code != 0 {
			t.Fatalf("%s: got exit code %d: %s", p.name, code, p.out)
		}
		if got := len(p.acked()); got != n {
			t.Errorf("%s: got %d acknowledged, want %d", p.name, got, n)
		}
	}
	a.stop()
	next := make(map[string]int)
	for _, e := range a.delivered() {
		if want := fmt.Sprintf("%s-%d", e.Key, next[e.Key]); e.Data != want {
			t.Fatalf("got %s, want %s", e.Data, want)
		}
		next[e.Key]++
		unit, five := e.Attributes["unit"], strings.HasSuffix(e.Key, "-5")
		if e.Attributes["mqtt.client_id"] != e.Key || e.Attributes["mqtt.topic"] != "site/1/sensor/"+e.Key || five != (unit == "K") {
			t.Fatalf("%s: got attributes %v", e.Data, e.Attributes)
		}
	}
	for _, p := range all {
		if next[p.name] != n {
			t.Errorf("%s: got %d events, want %d", p.name, next[p.name], n)
		}
	}
}

func TestMQTT_MosquittoPub(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	mosquitto := testkit.Tool(t, "mosquitto_pub")
	a := newMQTTAgent(t, "", "")
	n := 0
	for _, version := range []string{"mqttv311", "mqttv5"} {
		for qos := range 3 {
			p := startProcess(t, exec.Command(mosquitto, "-h", "127.0.0.1", "-p", a.port(), "-V", version, "-q", strconv.Itoa(qos), "-r",
				"-t", "site/1/sensor/t1/x", "-m", strconv.Itoa(n)))
			p.expectDone()
			n++
		}
	}
	unmatched := startProcess(t, exec.Command(mosquitto, "-h", "127.0.0.1", "-p", a.port(), "-V", "mqttv5", "-q", "1", "-t", "other", "-m", "x"))
	unmatched.exit(time.Minute)
	if !strings.Contains(unmatched.out.String(), "Topic Name invalid") {
		t.Errorf("a topic without a match: got %s", unmatched.out)
	}
	a.stop()
	events := a.delivered()
	for i, e := range events {
		if e.Key != "t1" || e.Data != strconv.Itoa(i) || e.Attributes["mqtt.qos"] != strconv.Itoa(i%3) || e.Attributes["mqtt.retain"] != "true" {
			t.Errorf("event %d: got %+v", i, e)
		}
	}
	if len(events) != n {
		t.Errorf("got %d events, want %d", len(events), n)
	}
}

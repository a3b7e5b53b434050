//go:build unix

package kafkakit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/standpipe/standpipe/test/testkit"
)

// Broker is a broker that is its own controller, on ports of its own. Its topics survive Kill and Start.
type Broker struct {
	t        testing.TB
	jars     string
	folder   string
	settings map[string]string
	node     int
	voters   string // controllers, if there are several brokers
	port     string // of PLAINTEXT
	cmd      *exec.Cmd
	ended    chan struct{}
}

// New formats a broker's folder. settings are added to server.properties. The test is skipped, or fails, if the broker is
// not installed.
func New(t testing.TB, folder string, settings map[string]string) *Broker {
	t.Helper()
	b := &Broker{t: t, jars: installed(t), folder: folder, settings: settings, node: 1, port: freePort(t)}
	b.format(freePort(t))
	return b
}

// StartCluster starts n brokers that end with the test. Each topic has a replica on three of them, and takes a record that
// two have.
func StartCluster(t testing.TB, n int) []*Broker {
	t.Helper()
	jars := installed(t)
	brokers, controllers, voters := make([]*Broker, n), make([]string, n), make([]string, n)
	for i := range brokers {
		controllers[i] = freePort(t)
		voters[i] = fmt.Sprintf("%d@127.0.0.1:%s", i+1, controllers[i])
	}
	for i := range brokers {
		brokers[i] = &Broker{t: t, jars: jars, folder: t.TempDir(), node: i + 1, port: freePort(t), voters: strings.Join(voters, ","), settings: map[string]string{
			"default.replication.factor": "3", "min.insync.replicas": "2",
			"offsets.topic.replication.factor":         "3",
			"transaction.state.log.replication.factor": "3", "transaction.state.log.min.isr": "2",
		}}
		brokers[i].format(controllers[i])
		brokers[i].Launch()
		t.Cleanup(brokers[i].Kill)
	}
	for _, b := range brokers {
		b.Await()
	}
	return brokers
}

// format writes server.properties and formats the folder.
func (b *Broker) format(controller string) {
	b.t.Helper()
	b.configure(controller)
	out, err := b.java("kafka.tools.StorageTool", "format", "-t", "QmFzZTY0VVVJRA1234567w", "-c", b.properties()).CombinedOutput()
	if err != nil {
		b.t.Fatalf("format: %v: %s", err, out)
	}
}

// Start starts a broker that ends with the test, and waits until it answers.
func Start(t testing.TB, settings map[string]string) *Broker {
	t.Helper()
	b := New(t, t.TempDir(), settings)
	b.Run()
	t.Cleanup(b.Kill)
	return b
}

// installed returns the class path of the broker.
func installed(t testing.TB) string {
	t.Helper()
	testkit.Tool(t, "java")
	testkit.Tool(t, "kcat")
	dir := os.Getenv("STANDPIPE_STANDINS")
	for up := "."; dir == ""; up = filepath.Join("..", up) { // the tests run in the folder of their package
		if _, err := os.Stat(filepath.Join(up, "go.mod")); err == nil {
			dir = filepath.Join(up, ".standins")
		}
	}
	dir, err := filepath.Abs(dir)
	testkit.Must(t, err)
	if _, err := os.Stat(filepath.Join(dir, "kafka", "installed")); err != nil {
		testkit.Missing(t, "a broker of Apache Kafka", err)
	}
	return filepath.Join(dir, "kafka", "lib", "*")
}

func freePort(t testing.TB) string {
	t.Helper()
	_, port, err := net.SplitHostPort(testkit.FreeAddress(t))
	testkit.Must(t, err)
	return port
}

func (b *Broker) properties() string { return filepath.Join(b.folder, "server.properties") }
func (b *Broker) log() string        { return filepath.Join(b.folder, "log") }

// configure writes server.properties.
func (b *Broker) configure(controller string) {
	b.t.Helper()
	all := map[string]string{
		"process.roles": "broker,controller", "node.id": strconv.Itoa(b.node),
		"controller.quorum.voters":       cmp.Or(b.voters, "1@127.0.0.1:"+controller),
		"controller.listener.names":      "CONTROLLER",
		"inter.broker.listener.name":     "PLAINTEXT",
		"listeners":                      "PLAINTEXT://127.0.0.1:" + b.port + ",CONTROLLER://127.0.0.1:" + controller,
		"advertised.listeners":           "PLAINTEXT://127.0.0.1:" + b.port,
		"listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
		"log.dirs":                       filepath.Join(b.folder, "logs"),
		"auto.create.topics.enable":      "false",
		// One broker has one replica of everything, and few partitions to load at a start.
		"offsets.topic.replication.factor": "1", "offsets.topic.num.partitions": "2",
		"transaction.state.log.replication.factor": "1", "transaction.state.log.min.isr": "1", "transaction.state.log.num.partitions": "2",
		"share.coordinator.state.topic.replication.factor": "1", "share.coordinator.state.topic.min.isr": "1",
		"transaction.abort.timed.out.transaction.cleanup.interval.ms": "200",
		"controlled.shutdown.enable":                                  "false",
	}
	for name, value := range b.settings {
		if more, ok := strings.CutPrefix(value, "+"); ok { // behind the kit's own
			value = all[name] + "," + more
		}
		all[name] = value
	}
	var text strings.Builder
	for name, value := range all {
		fmt.Fprintf(&text, "%s=%s\n", name, strings.ReplaceAll(value, "\n", "\\\n"))
	}
	testkit.Must(b.t, os.WriteFile(b.properties(), []byte(text.String()), 0o600))
}

func (b *Broker) java(class string, args ...string) *exec.Cmd {
	all := append([]string{"-Xmx384m", "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC",
		"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", b.jars, class}, args...)
	return exec.Command("java", all...)
}

// Address returns host:port of the listener without TLS and login.
func (b *Broker) Address() string { return "127.0.0.1:" + b.port }

// Run starts the broker, and waits until it takes requests.
func (b *Broker) Run() {
	b.t.Helper()
	b.Launch()
	b.Await()
}

// Launch starts the broker's process.
func (b *Broker) Launch() {
	b.t.Helper()
	log, err := os.OpenFile(b.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	testkit.Must(b.t, err)
	defer log.Close()
	b.cmd, b.ended = b.java("kafka.Kafka", b.properties()), make(chan struct{})
	b.cmd.Stdout, b.cmd.Stderr = log, log
	testkit.Must(b.t, b.cmd.Start())
	cmd, ended := b.cmd, b.ended
	go func() {
		defer close(ended)
		_ = cmd.Wait() // killed
	}()
}

// Await waits until the broker takes requests.
func (b *Broker) Await() {
	b.t.Helper()
	testkit.Eventually(b.t, 2*time.Minute, func() error {
		select {
		case <-b.ended:
			text, _ := os.ReadFile(b.log())
			b.t.Fatalf("the broker ended: %s", text[max(0, len(text)-3000):])
		default:
		}
		return b.kcat(30*time.Second, "-L", "-m", "3").Run()
	})
}

// Kill ends the broker with SIGKILL.
func (b *Broker) Kill() {
	if b.cmd != nil {
		_ = b.cmd.Process.Kill() // it may have ended
		<-b.ended
	}
}

// Hang stops the process until Resume.
func (b *Broker) Hang() { testkit.Must(b.t, b.cmd.Process.Signal(syscall.SIGSTOP)) }

// Resume ends Hang.
func (b *Broker) Resume() { testkit.Must(b.t, b.cmd.Process.Signal(syscall.SIGCONT)) }

// CreateTopic makes a topic, and waits until the broker lists its partitions. configs are names and values in turn.
func (b *Broker) CreateTopic(name string, partitions int32, configs ...string) {
	b.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Address()))
	testkit.Must(b.t, err)
	defer client.Close()
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, partitions, -1
	for i := 0; i < len(configs); i += 2 {
		c := kmsg.NewCreateTopicsRequestTopicConfig()
		c.Name, c.Value = configs[i], &configs[i+1]
		topic.Configs = append(topic.Configs, c)
	}
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Topics = append(req.Topics, topic)
	resp, err := req.RequestWith(context.Background(), client)
	testkit.Must(b.t, err)
	if code := kerr.ErrorForCode(resp.Topics[0].ErrorCode); code != nil {
		b.t.Fatalf("create topic %s: %v", name, code)
	}
	list := kmsg.NewPtrMetadataRequest()
	list.Topics = append(list.Topics, kmsg.MetadataRequestTopic{Topic: &name})
	testkit.Eventually(b.t, time.Minute, func() error {
		resp, err := list.RequestWith(context.Background(), client)
		if err != nil {
			return err
		}
		led := 0
		for _, p := range resp.Topics[0].Partitions {
			if p.ErrorCode == 0 && p.Leader >= 0 {
				led++
			}
		}
		if led < int(partitions) {
			return fmt.Errorf("topic %s: %d of %d partitions have a leader: %v", name, led, partitions, kerr.ErrorForCode(resp.Topics[0].ErrorCode))
		}
		return nil
	})
}

// kcat returns a call of kcat that ends after the given time.
func (b *Broker) kcat(limit time.Duration, args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	cmd := exec.CommandContext(ctx, "kcat", append([]string{"-b", b.Address(), "-q"}, args...)...)
	cmd.Cancel = func() error {
		defer cancel()
		return cmd.Process.Kill()
	}
	return cmd
}

// Record is a record as kcat read it.
type Record struct {
	Partition int32
	Offset    int64
	Key       string
	Time      int64 // milliseconds
	Headers   string
	Value     string
}

// separators of kcat's output, which no test data has.
const (
	fieldEnd  = "\x1f"
	recordEnd = "\x1e\n"
)

// Read returns the records of a topic in committed transactions and outside of transactions, by partition and offset.
func (b *Broker) Read(topic string) (all []Record) {
	b.t.Helper()
	format := strings.Join([]string{"%p", "%o", "%k", "%T", "%h", "%s"}, fieldEnd) + recordEnd
	out, err := b.kcat(2*time.Minute, "-C", "-t", topic, "-e", "-o", "beginning", "-X", "isolation.level=read_committed",
		"-X", "check.crcs=true", "-f", format).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		b.t.Fatal(err)
	}
	for line := range strings.SplitSeq(string(out), recordEnd) {
		if line == "" {
			continue
		}
		f := strings.Split(line, fieldEnd)
		if len(f) != 6 {
			b.t.Fatalf("kcat: %d fields in %.200q", len(f), line)
		}
		r := Record{Key: f[2], Headers: f[4], Value: f[5]}
		if _, err := fmt.Sscan(f[0]+" "+f[1]+" "+f[3], &r.Partition, &r.Offset, &r.Time); err != nil {
			b.t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

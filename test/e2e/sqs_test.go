//go:build unix

package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/standpipe/standpipe/test/draw"
	"github.com/standpipe/standpipe/test/testkit"
)

// queues is a stand-in for SQS.
type queues struct {
	t      *testing.T
	client *sqs.Client
}

func queuesAt(t *testing.T, address string) *queues {
	return &queues{t, sqs.New(sqs.Options{
		Region: region, BaseEndpoint: aws.String("http://" + address),
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	})}
}

// startElasticMQ starts the queues of ElasticMQ. An error gives the reason why they are unusable.
func startElasticMQ(t *testing.T) (*queues, error) {
	t.Helper()
	if _, err := os.Stat(standin(t, "elasticmq", "installed")); err != nil {
		return nil, err
	}
	java, err := exec.LookPath("java")
	if err != nil {
		return nil, err
	}
	address := testkit.FreeAddress(t)
	_, port, _ := net.SplitHostPort(address)
	path := standin(t, "elasticmq", "lib", "*") + string(filepath.ListSeparator) + standin(t, "elasticmq", "classes")
	p := startProcess(t, exec.Command(java, "-XX:TieredStopAtLevel=1", "-Xmx256m", "-cp", path, "Queues", port))
	p.waitListening(address)
	return queuesAt(t, address), nil
}

// create makes a queue and returns its URL. A FIFO queue has a name that ends in .fifo.
func (q *queues) create(name string) string {
	q.t.Helper()
	in := &sqs.CreateQueueInput{QueueName: &name}
	if filepath.Ext(name) == ".fifo" {
		in.Attributes = map[string]string{"FifoQueue": "true"}
	}
	out, err := q.client.CreateQueue(q.t.Context(), in)
	if err != nil {
		q.t.Fatal(err)
	}
	return *out.QueueUrl
}

// read takes the messages out of a queue until it is empty. Messages of a response that was lost are hidden for a while.
func (q *queues) read(url string) (all []event) {
	q.t.Helper()
	for {
		out, err := q.client.ReceiveMessage(q.t.Context(), &sqs.ReceiveMessageInput{
			QueueUrl: &url, MaxNumberOfMessages: 10, WaitTimeSeconds: 1, VisibilityTimeout: 600, MessageAttributeNames: []string{"All"},
		})
		if err != nil {
			q.t.Fatal(err)
		}
		for _, m := range out.Messages {
			all = append(all, event{aws.ToString(m.MessageAttributes["standpipe-key"].StringValue), *m.Body})
			if _, err := q.client.DeleteMessage(q.t.Context(), &sqs.DeleteMessageInput{QueueUrl: &url, ReceiptHandle: m.ReceiptHandle}); err != nil {
				q.t.Fatal(err)
			}
		}
		if len(out.Messages) == 0 && q.empty(url) {
			return all
		}
	}
}

// empty reports whether a queue has no message, visible or hidden.
func (q *queues) empty(url string) bool {
	q.t.Helper()
	out, err := q.client.GetQueueAttributes(q.t.Context(), &sqs.GetQueueAttributesInput{
		QueueUrl: &url, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll},
	})
	if err != nil {
		q.t.Fatal(err)
	}
	for _, name := range []types.QueueAttributeName{
		types.QueueAttributeNameApproximateNumberOfMessages, types.QueueAttributeNameApproximateNumberOfMessagesNotVisible,
	} {
		if n, there := out.Attributes[string(name)]; !there || n != "0" {
			return false
		}
	}
	return true
}

func sqsDestination(url string) string {
	return fmt.Sprintf(`
  destination "sqs" "jobs" {
    queue_url = %q
    region    = %q
    batch { max_delay = "20ms" }
    retry {
      initial = "20ms"
      max     = "500ms"
    }
  }`, url, region)
}

func TestSQS_Moto(t *testing.T) {
	endToEnd(t)
	m := startMoto(t)
	testQueues(t, queuesAt(t, m.address), 150) // it is slow
}

func TestSQS_ElasticMQ(t *testing.T) {
	endToEnd(t)
	q, err := startElasticMQ(t)
	if err != nil {
		testkit.Missing(t, "SQS on ElasticMQ", err)
	}
	testQueues(t, q, 1500)
}

// testQueues kills the agent at random moments while it delivers. A FIFO queue has each event once, in the order of its key; a
// standard queue has each event, and those that were in flight perhaps twice.
func testQueues(t *testing.T, q *queues, events int) {
	seed := draw.Seed(t)
	r := rand.New(rand.NewPCG(seed, 10))
	for _, name := range []string{"jobs", "jobs.fifo"} {
		t.Run(name, func(t *testing.T) {
			url := q.create(name)
			a := startAgent(t, "", streamBlock("orders", sqsDestination(url)))
			sent := readings(seed, events)
			for _, part := range batches(sent, 100) {
				if _, err := a.dial().Append(t.Context(), request("orders", part...)); err != nil {
					t.Fatal(err)
				}
			}
			kills := 0
			for ; kills < 8; kills++ {
				time.Sleep(time.Duration(20+r.IntN(150)) * time.Millisecond)
				a.kill()
				a.start()
			}
			s := a.waitDelivered("orders", len(sent), 5*time.Minute)
			if d := s.Destinations[0]; d.Requests == 0 || d.BilledBytes == 0 {
				t.Errorf("got %+v", d)
			}
			arrived := q.read(url)
			v := owing(sent).judge(arrived)
			t.Logf("%d kills: %v", kills, v)
			fifo := name == "jobs.fifo"
			if v.missing+v.foreign > 0 || fifo && v.duplicates+v.disorder > 0 {
				t.Errorf("got %v", v)
			}
		})
	}
}

// Both stand-ins judge the events that SQS cannot carry, and queues that are missing.
func TestSQS_EventsAndQueuesThatAreWrong(t *testing.T) {
	endToEnd(t)
	t.Run("moto", func(t *testing.T) { testRules(t, queuesAt(t, startMoto(t).address)) })
	t.Run("elasticmq", func(t *testing.T) {
		q, err := startElasticMQ(t)
		if err != nil {
			testkit.Missing(t, "SQS on ElasticMQ", err)
		}
		testRules(t, q)
	})
}

// testRules appends events at the ends of the allowed ranges of characters and sizes. A forbidden event is a dead letter with
// the reason. The stand-in takes all others, and returns them as they were.
func testRules(t *testing.T, q *queues) {
	var good, bad []string
	for _, c := range "\t ~\u007f\u0080\u07ff\u0800\ud7ff\ue000\ufffd\U00010000\U0010ffff" {
		good = append(good, fmt.Sprintf("good %c.", c))
	}
	for _, text := range []string{"\x00", "\x01", "\x08", "\x0b", "\x0c", "\x0e", "\x1f", "\ufffe", "\uffff", "\xff", "\xc3", "\xed\xa0\x80", "\xf4\x90\x80\x80"} {
		bad = append(bad, "bad "+text+".")
	}
	good = append(good, strings.Repeat("x", 200<<10)) // the stand-ins take 256 KiB
	bad = append(bad, "")
	url := q.create("jobs")
	a := startAgent(t, "", fmt.Sprintf("stream \"raw\" {\n  format = \"text\"\n%s\n}\n", sqsDestination(url))+
		fmt.Sprintf("stream \"bytes\" {\n  format = \"bytes\"\n%s\n}\n", sqsDestination(q.create("bytes")))+
		streamBlock("nowhere", sqsDestination(url+"-absent")))
	client := a.dial()
	append1 := func(stream, data string) {
		t.Helper()
		if _, err := client.Append(t.Context(), request(stream, event{"k", data})); err != nil {
			t.Fatalf("%q: %v", data[:min(len(data), 20)], err)
		}
	}
	accepted := 0 // of the bad ones; a listener rejects text that is not UTF-8
	for _, data := range append(slices.Clone(good), bad...) {
		if !utf8.ValidString(data) {
			continue
		}
		append1("raw", data)
		accepted++
	}
	accepted -= len(good)
	append1("bytes", "\x00\x01\xff")
	append1("nowhere", "1")
	testkit.Eventually(t, time.Minute, func() error {
		if d := a.stream("raw").Destinations[0]; d.Delivered.Events != uint64(len(good)) || d.Dead.Events != uint64(accepted) {
			return fmt.Errorf("got %d delivered and %d dead, want %d and %d: %s", d.Delivered.Events, d.Dead.Events, len(good), accepted, d.LastError)
		}
		return nil
	})
	a.waitState("nowhere", "blocked", "")
	a.waitDelivered("bytes", 1, time.Minute)
	var got []string
	for _, e := range q.read(url) {
		got = append(got, e.data)
	}
	slices.Sort(got)
	if slices.Sort(good); !slices.Equal(got, good) {
		t.Errorf("got %d messages, want %d", len(got), len(good))
		for i := range min(len(got), len(good)) {
			if got[i] != good[i] {
				t.Fatalf("got %.40q, want %.40q", got[i], good[i])
			}
		}
	}
}

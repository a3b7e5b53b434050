//go:build unix

package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/standpipe/standpipe/test/testkit"
)

const region = "eu-west-1"

// standin returns the path of a file of the installed stand-ins.
func standin(t *testing.T, parts ...string) string {
	t.Helper()
	dir := os.Getenv("STANDPIPE_STANDINS")
	if dir == "" {
		dir = filepath.Join("..", "..", ".standins")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "installed")); err != nil {
		testkit.Missing(t, "the stand-ins for AWS", err)
	}
	return filepath.Join(append([]string{dir}, parts...)...)
}

// kinesalite is Kinesis Data Streams for tests; its streams survive kill and restart.
type kinesalite struct {
	*process
	t       *testing.T
	address string
	folder  string
}

func startKinesalite(t *testing.T) *kinesalite {
	t.Helper()
	k := &kinesalite{t: t, address: testkit.FreeAddress(t), folder: t.TempDir()}
	k.start()
	return k
}

func (k *kinesalite) start() {
	k.t.Helper()
	_, port, _ := net.SplitHostPort(k.address)
	k.process = startProcess(k.t, exec.Command("node", standin(k.t, "wrapper.js"), port, k.folder))
	k.process.waitListening(k.address)
}

// waitListening waits until connections to address are accepted.
func (p *process) waitListening(address string) {
	p.t.Helper()
	testkit.Eventually(p.t, 30*time.Second, func() error {
		if p.ended() {
			p.t.Fatalf("%v ended: %s", p.cmd.Args, p.out)
		}
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
		}
		return err
	})
}

func (k *kinesalite) endpoint() string { return "http://" + k.address }

func (k *kinesalite) client() *kinesis.Client {
	return kinesis.New(kinesis.Options{
		Region:       region,
		BaseEndpoint: aws.String(k.endpoint()),
		Credentials:  credentials.NewStaticCredentialsProvider("test", "test", ""),
	})
}

// create makes a stream and waits until it can be written to.
func (k *kinesalite) create(stream string, shards int32) {
	k.t.Helper()
	_, err := k.client().CreateStream(k.t.Context(), &kinesis.CreateStreamInput{
		StreamName: &stream, ShardCount: &shards,
	})
	if err != nil {
		k.t.Fatal(err)
	}
	k.waitActive(stream)
}

func (k *kinesalite) waitActive(stream string) {
	k.t.Helper()
	testkit.Eventually(k.t, 10*time.Second, func() error {
		out, err := k.client().DescribeStreamSummary(k.t.Context(), &kinesis.DescribeStreamSummaryInput{StreamName: &stream})
		if err == nil && out.StreamDescriptionSummary.StreamStatus != types.StreamStatusActive {
			err = fmt.Errorf("stream %s is %s", stream, out.StreamDescriptionSummary.StreamStatus)
		}
		return err
	})
}

// userRecord is a line of deaggregate.js.
type userRecord struct {
	Shard, SequenceNumber, RecordKey string
	PartitionKey                     string
	Sub                              int
	InRange                          bool
	Data                             []byte
	Records, UserRecords             *int // the last line
}

// read takes a stream apart with the JavaScript library; it fails on a record that the library
// refuses and on one that Amazon's library would discard because a key of it lies outside the shard.
func (k *kinesalite) read(stream string) (events []event, records int) {
	k.t.Helper()
	got := k.consume(stream)
	for _, u := range got.astray {
		k.t.Errorf("key %s was read from %s in a record of which a key lies outside its hash range: consumers discard it", u.PartitionKey, u.Shard)
	}
	return got.events, got.records
}

// consumed holds the events of a stream that two kinds of consumers get.
type consumed struct {
	events  []event // by one that looks at no range
	checked []event // by a consumer that discards aggregated records with a key outside the shard's range
	astray  []userRecord
	records int
}

// consume takes a stream apart with the JavaScript library.
func (k *kinesalite) consume(stream string) (got consumed) {
	k.t.Helper()
	out, err := deaggregate(k.t, k.endpoint(), stream)
	if err != nil {
		k.t.Fatal(err)
	}
	found := bufio.NewScanner(bytes.NewReader(out))
	found.Buffer(nil, 64<<20)
	var record []userRecord
	for found.Scan() {
		var u userRecord
		if err := json.Unmarshal(found.Bytes(), &u); err != nil {
			k.t.Fatal(err)
		}
		if len(record) > 0 && (u.Shard != record[0].Shard || u.SequenceNumber != record[0].SequenceNumber) {
			got.add(record)
			record = record[:0]
		}
		if u.Records != nil {
			got.records = *u.Records
			return got
		}
		record = append(record, u)
	}
	k.t.Fatalf("deaggregate.js ended without its last line after %d events", len(got.events))
	return got
}

// add takes in the user records of one record.
func (c *consumed) add(record []userRecord) {
	outside := slices.ContainsFunc(record, func(u userRecord) bool { return !u.InRange })
	for _, u := range record {
		e := event{u.PartitionKey, string(u.Data)}
		c.events = append(c.events, e)
		if outside {
			c.astray = append(c.astray, u)
		} else {
			c.checked = append(c.checked, e)
		}
	}
}

func deaggregate(t *testing.T, endpoint, stream string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "node", standin(t, "deaggregate.js"), endpoint, stream).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("deaggregate.js: %w: %s", err, exit.Stderr)
	}
	return out, err
}

// The stand-ins are proved before anything is proved with them: an aggregated record made by the
// hands of this test is taken apart, its order kept, and a wrong checksum is an error.
func TestStandins_TakeAggregatesApart(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	k := startKinesalite(t)
	k.create("proof", 3)
	k.put("proof", "k1", aggregated)
	k.put("proof", "k1", []byte("alone"))
	k.kill()
	k.start()
	k.put("proof", "k2", []byte("\x00\xff"))
	got, records := k.read("proof")
	want := []event{{"k1", "one"}, {"k1", "two"}, {"k1", "alone"}, {"k2", "\x00\xff"}}
	if v := owing(want).judge(got); v != (verdict{events: 4}) || records != 3 {
		t.Errorf("got %q in %d records, want %q in 3", got, records, want)
	}

	broken := bytes.Clone(aggregated)
	broken[len(broken)-1] ^= 1
	k.put("proof", "k1", broken)
	if _, err := deaggregate(t, k.endpoint(), "proof"); err == nil {
		t.Error("a record with a wrong checksum was taken apart without an error")
	}
}

// aggregated holds the user records "one" and "two" of key k1: magic, message, MD5.
var aggregated = mustDecode("84mawgoCazEaBwgAGgNvbmUaBwgAGgN0d2/LPjTK/n06zgL8SLWl3Bst")

func mustDecode(text string) []byte {
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		panic(err)
	}
	return b
}

func (k *kinesalite) put(stream, key string, data []byte) {
	k.t.Helper()
	_, err := k.client().PutRecord(k.t.Context(), &kinesis.PutRecordInput{StreamName: &stream, PartitionKey: &key, Data: data})
	if err != nil {
		k.t.Fatal(err)
	}
}

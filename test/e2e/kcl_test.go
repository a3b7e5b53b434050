//go:build unix

package e2e_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/standpipe/standpipe/test/testkit"
)

// consumeKCL reads a stream as a consumer with Amazon's Kinesis Client Library does: the library's own class takes
// each record apart, with the hash range of its shard. An error gives the reason why the library is unusable.
func (k *kinesalite) consumeKCL(stream string) ([]event, error) {
	k.t.Helper()
	if _, err := os.Stat(standin(k.t, "kcl", "installed")); err != nil {
		return nil, err
	}
	java, err := exec.LookPath("java")
	if err != nil {
		return nil, err
	}
	path := standin(k.t, "kcl", "lib", "*") + string(filepath.ListSeparator) + standin(k.t, "kcl", "classes")
	cmd := exec.CommandContext(k.t.Context(), java, "-XX:TieredStopAtLevel=1", "-cp", path, "Deaggregate")
	cmd.Stdin = k.rawRecords(stream)
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		k.t.Fatal(err)
	}
	return userRecords(k.t, out), nil
}

// rawRecords returns a stream's records as Deaggregate.java reads them, shard after shard.
func (k *kinesalite) rawRecords(stream string) *bytes.Buffer {
	k.t.Helper()
	client := k.client()
	shards, err := client.ListShards(k.t.Context(), &kinesis.ListShardsInput{StreamName: &stream})
	if err != nil {
		k.t.Fatal(err)
	}
	lines := new(bytes.Buffer)
	for _, shard := range shards.Shards {
		at, err := client.GetShardIterator(k.t.Context(), &kinesis.GetShardIteratorInput{StreamName: &stream,
			ShardId: shard.ShardId, ShardIteratorType: types.ShardIteratorTypeTrimHorizon})
		if err != nil {
			k.t.Fatal(err)
		}
		for next := at.ShardIterator; next != nil; {
			page, err := client.GetRecords(k.t.Context(), &kinesis.GetRecordsInput{ShardIterator: next})
			if err != nil {
				k.t.Fatal(err)
			}
			for _, r := range page.Records {
				fmt.Fprintf(lines, "%s\t%s\t%s\t%s\n", *shard.HashKeyRange.StartingHashKey, *shard.HashKeyRange.EndingHashKey,
					base64.StdEncoding.EncodeToString([]byte(*r.PartitionKey)), base64.StdEncoding.EncodeToString(r.Data))
			}
			if next = page.NextShardIterator; len(page.Records) == 0 && (page.MillisBehindLatest == nil || *page.MillisBehindLatest == 0) {
				break // an open shard's iterators never end
			}
		}
	}
	return lines
}

// userRecords parses the output of Deaggregate.java.
func userRecords(t *testing.T, out []byte) (events []event) {
	t.Helper()
	found := bufio.NewScanner(bytes.NewReader(out))
	found.Buffer(nil, 64<<20)
	for found.Scan() {
		field := bytes.Split(found.Bytes(), []byte("\t"))
		if len(field) != 3 {
			t.Fatalf("Deaggregate.java printed %.200q", found.Text())
		}
		events = append(events, event{string(decode64(t, field[1])), string(decode64(t, field[2]))})
	}
	return events
}

func decode64(t *testing.T, text []byte) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(string(text))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The library is proved before anything is proved with it: it discards an aggregated record whole when one of
// its keys lies elsewhere, and hands on a plain record wherever it lies.
func TestKCL_DiscardsStrayRecordsWhole(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	k := startKinesalite(t)
	k.create("stray", 2)
	k.put("stray", "k1", aggregated)
	k.put("stray", "k1", strayRecord)
	k.put("stray", "k1", []byte("alone"))
	got, err := k.consumeKCL("stray")
	if err != nil {
		testkit.NotTested(t, "Amazon's consumer library", err)
		return
	}
	if want := (verdict{events: 3}); owing([]event{{"k1", "one"}, {"k1", "two"}, {"k1", "alone"}}).judge(got) != want {
		t.Errorf("got %q, want one, two and alone of key k1", got)
	}
	if got := k.consume("stray"); len(got.checked) != 3 || len(got.events) != 5 {
		t.Errorf("got %q with and %q without a check of ranges, want 3 and 5", got.checked, got.events)
	}
}

// strayRecord holds the user records "here" of key k1 (hash b6…) and "there" of key k2 (61…): of two even shards,
// they lie in different ones.
var strayRecord = mustDecode("84mawgoCazEKAmsyGggIABoEaGVyZRoJCAEaBXRoZXJlybwcIpDWpGAEn7JKBfSYZw==")

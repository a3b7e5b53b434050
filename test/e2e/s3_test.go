//go:build unix

package e2e_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/parquet-go/parquet-go"

	"github.com/standpipe/standpipe/test/draw"
	"github.com/standpipe/standpipe/test/testkit"
)

// objectStore is a service with the interface of S3, and the bucket of the tests in it.
type objectStore struct {
	t        *testing.T
	endpoint string
	folder   string // versitygw: of the buckets, in which each object is a file
	client   *s3.Client
}

// bucketRegion is the only region in which a bucket can be created without naming it.
const bucketRegion = "us-east-1"

// objectStores start the services that other projects wrote. versitygw checks signatures; moto does not.
var objectStores = map[string]func(*testing.T) (address, folder string){
	"versitygw": func(t *testing.T) (address, folder string) {
		address, folder = testkit.FreeAddress(t), t.TempDir()
		program := standin(t, "bin", "versitygw")
		if _, err := os.Stat(program); err != nil {
			testkit.Missing(t, "versitygw", err)
		}
		cmd := exec.Command(program, "--port", address, "--region", bucketRegion, "posix", folder)
		cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY=test", "ROOT_SECRET_KEY=test")
		startProcess(t, cmd).waitListening(address)
		return address, folder
	},
	"moto": func(t *testing.T) (address, folder string) {
		address = testkit.FreeAddress(t)
		_, port, _ := net.SplitHostPort(address)
		cmd := exec.Command(standin(t, "py", "bin", "moto_server"), "-H", "127.0.0.1", "-p", port)
		cmd.Env = append(os.Environ(), "PYTHONWARNINGS=ignore")
		startProcess(t, cmd).waitListening(address)
		return address, folder
	},
}

func startObjectStore(t *testing.T, name string) *objectStore {
	t.Helper()
	address, folder := objectStores[name](t)
	endpoint := "http://" + address
	o := &objectStore{t: t, endpoint: endpoint, folder: folder, client: s3.New(s3.Options{
		Region: bucketRegion, BaseEndpoint: &endpoint, UsePathStyle: true, Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	})}
	if _, err := o.client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String(bucket)}); err != nil {
		t.Fatal(err)
	}
	return o
}

// destination is a block for agent.hcl.
func (o *objectStore) destination(settings string) string {
	return fmt.Sprintf(`
  destination "s3" "lake" {
    bucket     = %q
    prefix     = "raw/${stream}/dt=%%Y-%%m-%%d/"
    path_style = true
    %s
    aws {
      region   = %q
      endpoint = %q
    }
    retry {
      initial = "20ms"
      max     = "300ms"
      timeout = "20s"
    }
  }
`, bucket, settings, bucketRegion, o.endpoint)
}

// keys returns the keys of all objects, ascending.
func (o *objectStore) keys(prefix string) (keys []string) {
	o.t.Helper()
	pages := s3.NewListObjectsV2Paginator(o.client, &s3.ListObjectsV2Input{Bucket: aws.String(bucket), Prefix: &prefix})
	for pages.HasMorePages() {
		page, err := pages.NextPage(o.t.Context())
		if err != nil {
			o.t.Fatal(err)
		}
		for _, object := range page.Contents {
			keys = append(keys, *object.Key)
		}
	}
	slices.SortFunc(keys, func(a, b string) int { return strings.Compare(path.Base(a), path.Base(b)) })
	return keys
}

func (o *objectStore) get(key string) []byte {
	o.t.Helper()
	out, err := o.client.GetObject(o.t.Context(), &s3.GetObjectInput{Bucket: aws.String(bucket), Key: &key})
	if err != nil {
		o.t.Fatalf("%s: %v", key, err)
	}
	defer out.Body.Close()
	body, err := io.ReadAll(out.Body)
	if err != nil {
		o.t.Fatalf("%s: %v", key, err)
	}
	return body
}

// uploads returns the number of unfinished uploads.
func (o *objectStore) uploads() int {
	o.t.Helper()
	out, err := o.client.ListMultipartUploads(o.t.Context(), &s3.ListMultipartUploadsInput{Bucket: aws.String(bucket)})
	if err != nil {
		o.t.Fatal(err)
	}
	return len(out.Uploads)
}

// objectKey is the promised form of a key.
var objectKey = regexp.MustCompile(`^raw/([a-z]+)/dt=\d{4}-\d\d-\d\d/([a-z]+)-[^/-]+-\d{20}\.(jsonl|jsonl\.gz|parquet)$`)

// events returns the events of all objects of a stream in the order of their offsets.
func (o *objectStore) events(stream string) (events []event, objects int) {
	o.t.Helper()
	var rows []tableRow
	for _, key := range o.keys("raw/" + stream + "/") {
		objects++
		if parts := objectKey.FindStringSubmatch(key); parts == nil || parts[1] != stream || parts[2] != stream {
			o.t.Errorf("got key %s", key)
		}
		body := o.get(key)
		var err error
		switch {
		case strings.HasSuffix(key, ".parquet"):
			some, err := parquet.Read[tableRow](bytes.NewReader(body), int64(len(body)))
			if err != nil {
				o.t.Fatalf("%s: %v", key, err)
			}
			rows = append(rows, some...)
			continue
		case strings.HasSuffix(key, ".gz"):
			r, zipErr := gzip.NewReader(bytes.NewReader(body))
			if zipErr != nil {
				o.t.Fatalf("%s: %v", key, zipErr)
			}
			if body, err = io.ReadAll(r); err != nil {
				o.t.Fatalf("%s: %v", key, err)
			}
		}
		some, err := lines(body, "sensor")
		if err != nil {
			o.t.Fatalf("%s: %v", key, err)
		}
		events = append(events, some...)
	}
	slices.SortFunc(rows, func(a, b tableRow) int { return int(a.Offset - b.Offset) })
	for _, r := range rows {
		events = append(events, event{r.Key, r.Data})
	}
	return events, objects
}

// tableRow is a row of a parquet object.
type tableRow struct {
	Offset int64  `parquet:"offset"`
	Key    string `parquet:"key"`
	Data   string `parquet:"data"`
}

// The agent is killed at random moments while it writes small objects, objects of several parts, and tables,
// STANDPIPE_E2E_S3_ROUNDS times. Each event is in exactly one object, in order, and no upload is left.
func TestS3_KillsLeaveEachEventInOneObject(t *testing.T) {
	endToEnd(t)
	rounds := number(t, "STANDPIPE_E2E_S3_ROUNDS", 4)
	seed := draw.Seed(t)
	for name := range objectStores {
		t.Run(name, func(t *testing.T) {
			t.Logf("%d rounds", rounds)
			r := rand.New(rand.NewPCG(seed, 53))
			o := startObjectStore(t, name)
			a := newAgent(t, "wal {\n  max_size = \"2GiB\"\n}\n",
				streamBlock("small", o.destination("roll_size = \"64KiB\"\n    roll_interval = \"300ms\""))+
					streamBlock("parts", o.destination("compression = \"none\"\n    roll_size = \"12MiB\"\n    roll_interval = \"1s\""))+
					streamBlock("tables", o.destination("format = \"parquet\"\n    compression = \"zstd\"\n    row_group_size = \"256KiB\"\n    roll_size = \"1MiB\"\n    roll_interval = \"500ms\"")))
			var writers []*writer
			for i, stream := range []string{"small", "parts", "tables"} {
				writers = append(writers, newWriter(t, stream, "gateway", seed+uint64(i)))
			}
			for range rounds {
				a.start()
				writeUntilKilled(a, time.Duration(100+r.IntN(1500))*time.Millisecond, writers...)
			}
			a.start()
			for _, w := range writers {
				finish(a, w)
			}
			for _, w := range writers {
				sent, _ := w.events()
				a.waitDelivered(w.stream, sent, 2*time.Minute)
			}
			a.stop()
			for _, w := range writers {
				arrived, objects := o.events(w.stream)
				t.Logf("%s: %d objects, %v", w.stream, objects, w.history().expectWhole(t, w.stream, arrived, 0))
			}
			if got := o.uploads(); got > 0 && name != "moto" { // moto lists completed uploads too
				t.Errorf("%d unfinished uploads are left", got)
			}
		})
	}
}

// A stand-in judges the encryption and the tags of objects of one request and of several parts.
func TestS3_ObjectsHaveKeyAndTags(t *testing.T) {
	endToEnd(t)
	o := startObjectStore(t, "moto")
	settings := "sse_kms_key_id = \"alias/lake\"\n    tags = { team = \"metering\", tier = \"a b\" }\n    compression = \"none\"\n    roll_interval = \"100ms\""
	a := startAgent(t, "", streamBlock("small", o.destination(settings))+streamBlock("large", o.destination(settings)))
	send(t, a.dial(), "small", readings(1, 10))
	large := make([]event, 10)
	for i := range large {
		large[i] = event{"k", fmt.Sprintf(`{"sensor":"k","n":%d,"pad":%q}`, i, filler(900<<10))}
	}
	send(t, a.dial(), "large", large)
	a.waitDelivered("small", 10, time.Minute)
	a.waitDelivered("large", len(large), time.Minute)
	a.stop()
	for _, key := range o.keys("raw/") {
		head, err := o.client.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String(bucket), Key: &key})
		testkit.Must(t, err)
		if head.ServerSideEncryption != "aws:kms" || aws.ToString(head.SSEKMSKeyId) != "alias/lake" {
			t.Errorf("%s: got encryption %q with the key %q", key, head.ServerSideEncryption, aws.ToString(head.SSEKMSKeyId))
		}
		tags, err := o.client.GetObjectTagging(t.Context(), &s3.GetObjectTaggingInput{Bucket: aws.String(bucket), Key: &key})
		testkit.Must(t, err)
		got := make(map[string]string)
		for _, tag := range tags.TagSet {
			got[*tag.Key] = *tag.Value
		}
		if len(got) != 2 || got["team"] != "metering" || got["tier"] != "a b" {
			t.Errorf("%s: got tags %v", key, got)
		}
	}
	for _, stream := range []string{"small", "large"} {
		if events, _ := o.events(stream); len(events) != 10 {
			t.Errorf("%s: got %d events", stream, len(events))
		}
	}
}

// A bucket that does not exist, and credentials that are not accepted, block the destination with that reason. It goes on
// by itself once the cause is gone.
func TestS3_BlockedDestinationNamesTheReason(t *testing.T) {
	endToEnd(t)
	o := startObjectStore(t, "versitygw")
	a := startAgent(t, "", streamBlock("orders", strings.Replace(o.destination(`roll_interval = "100ms"`), `"events"`, `"missing"`, 1)))
	sent := readings(1, 10)
	send(t, a.dial(), "orders", sent)
	testkit.Eventually(t, 20*time.Second, func() error {
		if d := a.stream("orders").destination("lake"); d.State != "blocked" || !strings.Contains(d.LastError, "NoSuchBucket") || d.Pending.Events != 10 {
			return fmt.Errorf("lake is %s with %d pending and last error %q, want blocked with 10", d.State, d.Pending.Events, d.LastError)
		}
		return nil
	})
	if _, err := o.client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("missing")}); err != nil {
		t.Fatal(err)
	}
	a.waitDelivered("orders", len(sent), 30*time.Second)
	a.stop()
}

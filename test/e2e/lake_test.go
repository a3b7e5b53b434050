//go:build linux

package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
)

// lakeQuery finds one sensor's day with DuckDB, and prints what it took. rchar is the number of bytes that the process has
// read.
const lakeQuery = `
import duckdb, json, sys, time
source, key, begin, end = sys.argv[1:]
def read():
    return int(open("/proc/self/io").read().split("rchar: ")[1].split()[0])
db = duckdb.connect()
db.execute("set timezone = 'UTC'")
db.execute("set enable_progress_bar = false")
db.execute("select 1").fetchall()
before, started = read(), time.monotonic()
rows = db.execute(f"select time, data from {source} where key = ? and time >= ?::timestamptz and time < ?::timestamptz order by time", [key, begin, end]).fetchall()
print(json.dumps({"seconds": time.monotonic() - started, "bytes": read() - before, "data": [r[1] for r in rows]}))
`

// lakeAnswer is the output of lakeQuery.
type lakeAnswer struct {
	Seconds float64
	Bytes   int64
	Data    []string
}

func askLake(t *testing.T, source, key string, day time.Time) (a lakeAnswer) {
	t.Helper()
	cmd := exec.Command(standin(t, "py", "bin", "python"), "-c", lakeQuery, source, key, day.Format(time.RFC3339), day.AddDate(0, 0, 1).Format(time.RFC3339))
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", source, err, err.(*exec.ExitError).Stderr)
	}
	if err := json.Unmarshal(out, &a); err != nil {
		t.Fatal(err)
	}
	return a
}

// DuckDB finds one sensor's day among the events of 1,000 sensors, of STANDPIPE_E2E_LAKE_EVENTS events in all, and reads a
// small share of the bytes. Some events are late: the path has the time of writing, so only the rows tell their day.
func TestS3_OneSensorsDayIsFoundByReadingLittle(t *testing.T) {
	endToEnd(t)
	n := number(t, "STANDPIPE_E2E_LAKE_EVENTS", 500_000)
	const sensors, days = 1000, 4
	o := startObjectStore(t, "versitygw")
	a := startAgent(t, "wal {\n  max_size = \"16GiB\"\n}\n", streamBlock("lake",
		o.destination("format = \"parquet\"\n    compression = \"zstd\"\n    roll_size = \"64MiB\"\n    roll_interval = \"30s\""))+
		streamBlock("lines", o.destination("compression = \"none\"\n    envelope = true\n    roll_size = \"64MiB\"\n    roll_interval = \"30s\"")))
	first := time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC)
	step := days * 24 * time.Hour / time.Duration(n)
	wanted, day := "sensor-0423", first.AddDate(0, 0, 1)
	var want []string
	r := rand.New(rand.NewPCG(1, 1))
	client, err := a.dial().AppendStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	open := 0
	receive := func() {
		if _, err := client.Recv(); err != nil {
			t.Fatal(err)
		}
		open--
	}
	for i := 0; i < n; {
		batch := make([]*standpipev1.Event, min(1000, n-i))
		for j := range batch {
			key, at := fmt.Sprintf("sensor-%04d", i%sensors), first.Add(time.Duration(i)*step)
			if r.IntN(1000) == 0 {
				at = at.Add(-24 * time.Hour) // late
			}
			data := fmt.Sprintf(`{"sensor":%q,"n":%d,"time":%q,"value":%.4f}`, key, i/sensors, at.Format(time.RFC3339), 20+50*r.Float64())
			if key == wanted && !at.Before(day) && at.Before(day.AddDate(0, 0, 1)) {
				want = append(want, data)
			}
			batch[j] = &standpipev1.Event{PartitionKey: key, Data: []byte(data), TimeUnixNano: at.UnixNano()}
			i++
		}
		for _, stream := range []string{"lake", "lines"} {
			if err := client.Send(&standpipev1.AppendRequest{Stream: stream, Events: batch}); err != nil {
				t.Fatal(err)
			}
			if open++; open > 16 {
				receive()
			}
		}
	}
	for open > 0 {
		receive()
	}
	a.stop() // delivers what there is
	var answers [2]lakeAnswer
	var sizes [2]int64
	for i, source := range []string{"read_parquet('%s/lake/*/*.parquet')", "(select key, time::timestamptz as time, data::varchar as data from read_json('%s/lines/*/*.jsonl', format = 'newline_delimited'))"} {
		raw := filepath.Join(o.folder, bucket, "raw")
		sizes[i] = sizeOf(t, filepath.Join(raw, []string{"lake", "lines"}[i]))
		answers[i] = askLake(t, fmt.Sprintf(source, raw), wanted, day)
		t.Logf("%s: %d of %d events in %.3f s, read %d of %d bytes (%.2f %%)", []string{"parquet", "lines"}[i], len(answers[i].Data), n,
			answers[i].Seconds, answers[i].Bytes, sizes[i], 100*float64(answers[i].Bytes)/float64(sizes[i]))
		if len(answers[i].Data) != len(want) {
			t.Errorf("got %d events, want %d", len(answers[i].Data), len(want))
		}
	}
	slices.Sort(want)
	if slices.Sort(answers[0].Data); !slices.Equal(answers[0].Data, want) {
		t.Error("parquet: the events are not those of that day")
	}
	// The footers and indexes weigh more in a small lake.
	if share := float64(answers[0].Bytes) / float64(sizes[0]); n >= 10_000_000 && share > 0.02 || share > 0.06 {
		t.Errorf("read %.2f %% of the bytes", 100*share)
	}
}

// DuckDB reads STANDPIPE_E2E_LAKE_OBJECTS files with one event each, as a lake of one object an event has. The test logs what
// the search for one sensor takes.
func TestS3_OneObjectAnEventIsSlow(t *testing.T) {
	endToEnd(t)
	n := number(t, "STANDPIPE_E2E_LAKE_OBJECTS", 300)
	dir, first := t.TempDir(), time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC)
	r, want := rand.New(rand.NewPCG(1, 1)), 0
	for i := range n {
		key, at := fmt.Sprintf("sensor-%04d", i%100), first.Add(time.Duration(i)*24*time.Hour/time.Duration(n))
		if key == "sensor-0042" {
			want++
		}
		line := fmt.Sprintf(`{"key":%q,"time":%q,"data":{"sensor":%q,"n":%d,"value":%.4f}}`+"\n", key, at.Format(time.RFC3339), key, i, 20+50*r.Float64())
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%08d.jsonl", i)), []byte(line), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	source := fmt.Sprintf("(select key, time::timestamptz as time, data::varchar as data from read_json('%s/*.jsonl', format = 'newline_delimited'))", dir)
	got := askLake(t, source, "sensor-0042", first)
	t.Logf("one object an event: %d of %d events in %.3f s, read %d of %d bytes", len(got.Data), n, got.Seconds, got.Bytes, sizeOf(t, dir))
	if len(got.Data) != want {
		t.Errorf("got %d events, want %d", len(got.Data), want)
	}
}

// sizeOf returns the bytes of the files below a folder.
func sizeOf(t *testing.T, folder string) (size int64) {
	t.Helper()
	err := filepath.Walk(folder, func(_ string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() {
			size += info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return size
}

// boto is the peer that users would take: the transfer library under the AWS CLI.
const boto = `
import boto3, resource, sys, time
endpoint, file = sys.argv[1:]
s3 = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test")
s3.list_buckets()
def cpu():
    u = resource.getrusage(resource.RUSAGE_SELF)
    return u.ru_utime + u.ru_stime
before, started = cpu(), time.monotonic()
s3.upload_file(file, "events", "peer")
print(f"{cpu() - before:.3f} CPU seconds, {time.monotonic() - started:.3f} s")
`

// The agent sends STANDPIPE_E2E_S3_SPEED MB to one object after another, without compression, and all of it arrives. The
// test logs the agent's CPU time, beside the peer's.
func TestS3_MegabytesPerCPUSecond(t *testing.T) {
	endToEnd(t)
	megabytes := number(t, "STANDPIPE_E2E_S3_SPEED", 20)
	o := startObjectStore(t, "versitygw")
	block := func(bucket string) string {
		return streamBlock("orders", strings.Replace(o.destination("compression = \"none\"\n    roll_interval = \"1s\""), `"events"`, fmt.Sprintf("%q", bucket), 1))
	}
	a := startAgent(t, "wal {\n  max_size = \"16GiB\"\n}\n", block("missing"))
	client := a.dial()
	line := strings.Repeat("x", 970)
	for i := range megabytes {
		batch := make([]event, 1000)
		for j := range batch {
			batch[j] = event{fmt.Sprint("k", j%50), fmt.Sprintf(`{"n":%d,"pad":%q}`, i*1000+j, line)}
		}
		if _, err := client.Append(t.Context(), request("orders", batch...)); err != nil {
			t.Fatal(err)
		}
	}
	a.configure(block(bucket))
	before, begin := cpuSeconds(t, a.cmd.Process.Pid), time.Now()
	a.signal(syscall.SIGHUP)
	a.waitDelivered("orders", megabytes*1000, 5*time.Minute)
	took, cpu := time.Since(begin), cpuSeconds(t, a.cmd.Process.Pid)-before
	t.Logf("standpipe: %d MB in %s, %.2f CPU seconds: %.0f MB per CPU second", megabytes, took.Round(time.Millisecond), cpu, float64(megabytes)/cpu)
	a.stop()

	file := filepath.Join(t.TempDir(), "peer")
	if err := os.WriteFile(file, bytes.Repeat([]byte(line+strings.Repeat("y", 30)), megabytes*1000), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(standin(t, "py", "bin", "python"), "-c", boto, o.endpoint, file).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Logf("boto3: %d MB in %s", megabytes, out)
}

// cpuSeconds returns the CPU time of a process so far.
func cpuSeconds(t *testing.T, pid int) float64 {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+2:]))
	var ticks int
	for _, field := range fields[11:13] { // utime and stime, in hundredths of a second
		n, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return float64(ticks) / 100
}

package sqs_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink/sinktest"
	"github.com/standpipe/standpipe/shipper/sink/sqs"
	"github.com/standpipe/standpipe/test/testkit"
	"github.com/standpipe/standpipe/wal"
)

func TestMain(m *testing.M) { testkit.RunTests(m, "standpipe/shipper/sink/sqs", nil) }

// TestConformance runs on a standard and a FIFO queue. Bodies are in base64, as the suite's events are any bytes.
func TestConformance(t *testing.T) {
	for _, queue := range []string{"jobs", "jobs.fifo"} {
		t.Run(queue, func(t *testing.T) {
			sinktest.Run(t, func(t *testing.T) sinktest.Target {
				f := start(t, queue)
				next := func(meets fault) func() { return func() { f.fail(meets) } }
				with := func(change func(r map[string]any)) func() {
					return next(fault{response: func(r map[string]any) string {
						change(r)
						b, _ := json.Marshal(r)
						return string(b)
					}})
				}
				return sinktest.Target{
					Sink: f.open(func(o *sqs.Options) { o.Base64 = true }),
					Stored: func() (all []byte) {
						for _, m := range f.stored() {
							data, err := base64.StdEncoding.DecodeString(m.MessageBody)
							if err != nil {
								t.Error(err)
							}
							all = append(all, data...)
						}
						return all
					},
					Hang:        func(arrived func()) { f.fail(fault{hang: true, arrived: arrived}) },
					Deny:        next(fault{status: 403, code: "InvalidClientTokenId", text: "The security token included in the request is invalid."}),
					FailRecords: func(indexes ...int) { f.fail(fault{status: 200, code: "InternalError", entries: indexes}) },
					FailRequest: []func(){
						next(fault{status: 400, code: "RequestThrottled", text: "Rate exceeded"}),
						next(fault{status: 500, code: "InternalFailure"}),
						next(fault{status: 400, code: "QueueDoesNotExist", text: "no"}),
						next(fault{cut: true}),
					},
					LoseResponse: []func(){
						next(fault{late: true}),
						next(fault{response: func(map[string]any) string { return "<html>" }}),
						next(fault{response: func(map[string]any) string { return "" }}),
						next(fault{response: func(map[string]any) string { return "{}" }}),
						with(func(r map[string]any) {
							for _, e := range r["Successful"].([]map[string]any) {
								delete(e, "MessageId")
							}
						}),
						with(func(r map[string]any) { r["Successful"].([]map[string]any)[0]["Id"] = "7" }),
						with(func(r map[string]any) { r["Successful"] = r["Successful"].([]map[string]any)[1:] }),
						with(func(r map[string]any) {
							r["Failed"] = []map[string]any{{"Id": "0", "Code": "InternalError", "SenderFault": false}}
						}),
					},
				}
			})
		})
	}
}

// record returns the record of one event, as the shipper makes it.
func record(e wal.Event) shipper.Record {
	return shipper.Record{Key: e.Key, First: e.Offset, Last: e.Offset, Events: 1, Data: e.Data, Event: &e}
}

func send(t *testing.T, s *sqs.Sink, events ...wal.Event) []*shipper.Error {
	t.Helper()
	var batch []shipper.Record
	for _, e := range events {
		batch = append(batch, record(e))
	}
	got := s.Send(t.Context(), batch)
	if got.Err != nil {
		t.Fatal(got.Err)
	}
	return got.Results
}

func TestSQS_EventBecomesAMessage(t *testing.T) {
	f := start(t, "jobs.fifo")
	s := f.open(nil)
	e := wal.Event{Offset: 7, Key: "k 1", Data: []byte(`{"a":"ü"}`), Attributes: map[string]string{"market": "uk", "empty": "", "bad name": "x", "aws.x": "y", "control": "\x01"}}
	if got := send(t, s, e); got[0] != nil {
		t.Fatal(got[0])
	}
	m := f.stored()[0]
	want := map[string]string{
		"standpipe-id": "LOG/orders/7", "standpipe-key": "k 1", "market": "uk",
		"standpipe-attributes": `{"aws.x":"y","bad name":"x","control":"\u0001","empty":""}`,
	}
	if got := values(m); m.MessageBody != string(e.Data) || !maps.Equal(got, want) {
		t.Errorf("got %q with %q, want %q", m.MessageBody, got, want)
	}
	if m.MessageDeduplicationID != "LOG/orders/7" || len(m.MessageGroupID) != 64 {
		t.Errorf("got deduplication ID %q, group %q", m.MessageDeduplicationID, m.MessageGroupID)
	}
}

func values(m message) map[string]string {
	got := make(map[string]string)
	for name, a := range m.MessageAttributes {
		got[name] = a.StringValue
	}
	return got
}

func TestSQS_NoAttributeIsLeftOut(t *testing.T) {
	for n := range 14 {
		for _, base64 := range []bool{false, true} {
			f := start(t, "jobs")
			s := f.open(func(o *sqs.Options) { o.Base64 = base64 })
			e := wal.Event{Offset: 1, Key: "k", Data: []byte("x"), Attributes: make(map[string]string)}
			for i := range n {
				e.Attributes[fmt.Sprintf("name-%02d", i)] = fmt.Sprint(i)
			}
			send(t, s, e)
			got := values(f.stored()[0])
			rest := make(map[string]string)
			if r, there := got["standpipe-attributes"]; there {
				testkit.Must(t, json.Unmarshal([]byte(r), &rest))
			}
			maps.Copy(got, rest)
			for _, own := range []string{"standpipe-id", "standpipe-key", "standpipe-encoding", "standpipe-attributes"} {
				delete(got, own)
			}
			if !maps.Equal(got, e.Attributes) || n < 8 && len(rest) > 0 {
				t.Errorf("%d attributes: got %q", n, got)
			}
		}
	}
}

// An envelope has the ID, the key and the attributes.
func TestSQS_Envelope(t *testing.T) {
	f := start(t, "jobs.fifo")
	around := &shipper.Envelope{Log: "LOG", Stream: "orders", Format: shipper.EnvelopeJSON}
	s := f.open(func(o *sqs.Options) { o.Envelope = around })
	e := wal.Event{Offset: 3, Key: "k", Data: []byte(`{}`), Attributes: map[string]string{"a": "b"}}
	r := record(e)
	r.Data = around.Append(nil, &e)
	if got := s.Send(t.Context(), []shipper.Record{r}); got.Err != nil || got.Results[0] != nil {
		t.Fatal(got)
	}
	m := f.stored()[0]
	if got := values(m); !maps.Equal(got, map[string]string{"a": "b"}) || !strings.Contains(m.MessageBody, `"id":"`+m.MessageDeduplicationID+`"`) {
		t.Errorf("got %q, %q", m.MessageBody, got)
	}
	around.MsgPack = true
	r.Data = around.Append(nil, &e)
	r.First++
	if got := s.Send(t.Context(), []shipper.Record{r}); got.Err != nil || got.Results[0] != nil {
		t.Fatal(got)
	}
	m = f.stored()[1]
	if got, err := base64.StdEncoding.DecodeString(m.MessageBody); err != nil || !bytes.Equal(got, r.Data) || values(m)["standpipe-encoding"] != "base64" {
		t.Errorf("MessagePack: got %q, %q", m.MessageBody, values(m))
	}
}

func TestSQS_EventsThatItCannotCarry(t *testing.T) {
	f := start(t, "jobs.fifo")
	f.most = 64 << 10
	s := f.open(nil)
	s.Learn(t.Context())
	var events []wal.Event
	for i, data := range []string{"good", "", "a\x00", "a\xff", "a\uffff", "\ufffe", strings.Repeat("x", 70<<10), "tab\t\r\n\ufffd\U0010ffff", "\x7f"} {
		events = append(events, wal.Event{Offset: uint64(i + 1), Key: fmt.Sprint(i), Data: []byte(data)})
	}
	got := send(t, s, events...)
	for i, want := range []string{"", "EmptyMessage", "InvalidMessageContents", "InvalidMessageContents", "InvalidMessageContents", "InvalidMessageContents", "MessageTooLong", "", ""} {
		switch {
		case want == "" && got[i] != nil, want != "" && (got[i] == nil || got[i].Class != shipper.Poison || got[i].Code != want):
			t.Errorf("event %d: got %v, want %q", i, got[i], want)
		}
	}
	if got := len(f.stored()); got != 3 {
		t.Errorf("got %d messages, want 3", got)
	}
	if got := send(t, s, events[1]); got[0] == nil || f.requests != 1 {
		t.Errorf("got %v after %d requests", got[0], f.requests)
	}
}

func TestSQS_ResentEventsAreDropped(t *testing.T) {
	f := start(t, "jobs.fifo")
	s := f.open(func(o *sqs.Options) { o.Source = strings.Repeat("s", 128) })
	events := []wal.Event{{Offset: 1, Key: "a", Data: []byte("1")}, {Offset: 2, Key: "b", Data: []byte("2")}, {Offset: 100_001, Key: "c", Data: []byte("3")}}
	for range 3 {
		f.fail(fault{late: true})
		var batch []shipper.Record
		for _, e := range events {
			batch = append(batch, record(e))
		}
		if got := s.Send(t.Context(), batch); got.Err == nil || got.Err.Class != shipper.Transient {
			t.Fatalf("got %+v", got)
		}
		send(t, s, events...)
	}
	if got := len(f.stored()); got != 3 {
		t.Errorf("got %d messages, want 3", got)
	}
}

func TestSQS_ClassesOfErrors(t *testing.T) {
	for _, c := range []struct {
		meets    fault
		want     shipper.Class
		tooLarge bool
	}{
		{fault{status: 400, code: "QueueDoesNotExist"}, shipper.Operator, false},
		{fault{status: 400, code: "AWS.SimpleQueueService.NonExistentQueue"}, shipper.Operator, false},
		{fault{status: 403, code: "AccessDeniedException"}, shipper.Operator, false},
		{fault{status: 400, code: "KmsAccessDenied"}, shipper.Operator, false},
		{fault{status: 400, code: "KMS.DisabledException"}, shipper.Operator, false},
		{fault{status: 400, code: "KmsThrottled"}, shipper.Throttled, false},
		{fault{status: 400, code: "RequestThrottled"}, shipper.Throttled, false},
		{fault{status: 400, code: "UnsupportedOperation"}, shipper.Operator, false},
		{fault{status: 400, code: "BatchRequestTooLong"}, shipper.Transient, true},
		{fault{status: 400, code: "InvalidParameterValue", text: "Value is invalid"}, shipper.Operator, false},
		{fault{status: 400, code: "InvalidParameterValue", text: "Reason: Message must be shorter than 262144 bytes."}, shipper.Poison, false},
		{fault{status: 503, code: "ServiceUnavailable"}, shipper.Throttled, false},
		{fault{status: 400, code: "Unheard"}, shipper.Operator, false},
	} {
		f := start(t, "jobs")
		f.fail(c.meets)
		got := f.open(nil).Send(t.Context(), sinktest.Records(2))
		if got.Err == nil || got.Err.Class != c.want || got.Err.TooLarge != c.tooLarge {
			t.Errorf("%s %q: got %+v, want %v", c.meets.code, c.meets.text, got.Err, c.want)
		}
	}
	for _, c := range []struct {
		meets fault
		want  shipper.Class
	}{
		{fault{code: "InternalError"}, shipper.Transient},
		{fault{code: "AWS.SimpleQueueService.InternalError"}, shipper.Transient},
		{fault{code: "RequestThrottled"}, shipper.Throttled},
		{fault{code: "InvalidMessageContents", sender: true}, shipper.Poison},
		{fault{code: "InvalidParameterValue", text: "must be shorter than 262144 bytes", sender: true}, shipper.Poison},
		{fault{code: "InvalidParameterValue", text: "group", sender: true}, shipper.Operator},
		{fault{code: "AccessDenied", sender: true}, shipper.Operator},
		{fault{code: "Unheard", sender: true}, shipper.Operator},
		{fault{code: "Unheard"}, shipper.Transient},
	} {
		f := start(t, "jobs")
		c.meets.status, c.meets.entries = 200, []int{1}
		f.fail(c.meets)
		got := f.open(nil).Send(t.Context(), sinktest.Records(3))
		if got.Err != nil || got.Results[0] != nil || got.Results[2] != nil || got.Results[1] == nil || got.Results[1].Class != c.want {
			t.Errorf("entry %s %q: got %+v, %v, want %v", c.meets.code, c.meets.text, got.Err, got.Results, c.want)
		}
	}
}

// The messages of a key arrive in order, also if a request stores some of its messages only. The fake rejects a request
// with two messages of a key.
func TestSQS_OneMessageOfAKeyInARequest(t *testing.T) {
	f := start(t, "jobs.fifo")
	l := testkit.OpenLog(t, wal.Options{})
	cursor, err := l.OpenCursor("orders", "jobs")
	testkit.Must(t, err)
	want := make(map[string][]string) // bodies by key
	var events []wal.Event
	for i := range 60 {
		e := wal.Event{Key: fmt.Sprint("key-", i%4), Data: fmt.Append(nil, i)}
		events = append(events, e)
		want[e.Key] = append(want[e.Key], string(e.Data))
	}
	_, err = l.Append(t.Context(), &wal.Batch{Stream: "orders", Events: events})
	testkit.Must(t, err)
	for range 5 {
		f.fail(fault{status: 200, code: "InternalError", entries: []int{0}})
	}
	dead := l.OpenDeadLetters(nil)
	defer dead.Close()
	s := shipper.New(shipper.Options{
		Source: l, Cursor: cursor, Sink: f.open(nil), Dead: dead, Unpaced: true,
		Retry: shipper.Retry{Initial: time.Millisecond, Max: time.Millisecond, Timeout: time.Minute},
	})
	s.Finish()
	testkit.Must(t, s.Run(t.Context()))
	got := make(map[string][]string)
	for _, m := range f.stored() {
		key := m.MessageAttributes["standpipe-key"].StringValue
		got[key] = append(got[key], m.MessageBody)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestSQS_LimitOfTheQueueIsLearnt(t *testing.T) {
	f := start(t, "jobs")
	s := f.open(nil)
	for _, c := range []struct{ most, want int }{{0, 1<<20 - 2560}, {256 << 10, 256<<10 - 2560}, {4 << 10, 4<<10 - 256}, {1 << 20, 1<<20 - 2560}} {
		f.most = c.most
		s.Learn(t.Context())
		if got := s.Shape(); got.MaxRecord != c.want || got.MaxBatch < 256<<10-2560 || got.AimRecord > got.MaxRecord {
			t.Errorf("%d: got %+v, want MaxRecord %d", c.most, got, c.want)
		}
	}
	full := wal.Event{Offset: 1, Key: strings.Repeat("k", 100), Data: bytes.Repeat([]byte("x"), s.Shape().MaxRecord-100)}
	if got := send(t, s, full); got[0] != nil {
		t.Errorf("the largest event: got %v", got[0])
	}
}

// Attributes do not count in a batch of the shipper.
func TestSQS_BatchWithLargeAttributesIsCut(t *testing.T) {
	f := start(t, "jobs")
	var batch []shipper.Record
	for i := range 10 {
		e := wal.Event{Offset: uint64(i + 1), Key: fmt.Sprint(i), Data: []byte("x"), Attributes: map[string]string{"a": strings.Repeat("v", 150<<10)}}
		batch = append(batch, record(e))
	}
	s := f.open(nil)
	if got := s.Send(t.Context(), batch); got.Err == nil || !got.Err.TooLarge || f.requests > 0 {
		t.Errorf("got %+v after %d requests", got.Err, f.requests)
	}
	for part := range slices.Chunk(batch, 5) {
		if got := s.Send(t.Context(), part); got.Err != nil {
			t.Error(got.Err)
		}
	}
}

// SQS bills a request for each 64 KiB of its messages, with their attributes.
func TestSQS_UnitsAreStepsOf64KiB(t *testing.T) {
	f := start(t, "jobs")
	s := f.open(nil)
	for _, c := range []struct {
		size, n int
		want    uint64
	}{{10, 1, 1}, {10, 10, 1}, {64 << 10, 1, 2}, {20 << 10, 10, 4}, {200 << 10, 4, 13}} {
		var batch []shipper.Record
		for i := range c.n {
			batch = append(batch, record(wal.Event{Offset: uint64(i + 1), Key: fmt.Sprint(i), Data: bytes.Repeat([]byte("x"), c.size)}))
		}
		if got := s.Send(t.Context(), batch); got.Err != nil || got.Units != c.want {
			t.Errorf("%d messages of %d bytes: got %d units, %v, want %d", c.n, c.size, got.Units, got.Err, c.want)
		}
	}
	f.fail(fault{status: 400, code: "RequestThrottled"})
	if got := s.Send(t.Context(), []shipper.Record{record(wal.Event{Offset: 1, Data: []byte("x")})}); got.Err == nil || got.Units != 0 {
		t.Errorf("got %+v for a failed request", got)
	}
}

func TestSQS_Options(t *testing.T) {
	for _, c := range []struct{ url, endpoint, region string }{
		{"https://sqs.eu-west-1.amazonaws.com/123456789012/jobs", "", "eu-west-1"},
		{"https://sqs.cn-north-1.amazonaws.com.cn/123456789012/jobs", "", "cn-north-1"},
		{"https://sqs-fips.us-east-1.amazonaws.com/123456789012/jobs", "https://sqs-fips.us-east-1.amazonaws.com", "us-east-1"},
		{"https://vpce-1-x.sqs.eu-west-1.vpce.amazonaws.com/123456789012/jobs", "https://vpce-1-x.sqs.eu-west-1.vpce.amazonaws.com", "eu-west-1"},
		{"http://127.0.0.1:9324/000000000000/jobs.fifo", "http://127.0.0.1:9324", "us-west-2"},
	} {
		endpoint, region, err := sqs.Located(sqs.Options{QueueURL: c.url}, "us-west-2")
		if err != nil || endpoint != c.endpoint || region != c.region {
			t.Errorf("%s: got %q, %q, %v", c.url, endpoint, region, err)
		}
	}
	f := start(t, "jobs")
	for want, change := range map[string]func(*sqs.Options){
		"no queue": func(o *sqs.Options) { o.QueueURL = "" },
		"no URL":   func(o *sqs.Options) { o.QueueURL = "jobs" },
	} {
		o := f.options()
		change(&o)
		if _, err := sqs.New(t.Context(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

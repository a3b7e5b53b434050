package s3_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink/s3"
	"github.com/standpipe/standpipe/test/fakes3"
	"github.com/standpipe/standpipe/wal"
)

func TestKey_HasPrefixStreamLogAndOffset(t *testing.T) {
	srv := fakes3.Start(t)
	at := time.Date(2026, 2, 3, 23, 5, 6, 0, time.FixedZone("", -3600)) // the next day in UTC
	for prefix, want := range map[string]string{
		"":                              "orders-LOG-00000000000000000017.jsonl",
		"raw/dt=%Y-%m-%d/hour=%H/":      "raw/dt=2026-02-04/hour=00/orders-LOG-00000000000000000017.jsonl",
		"%Y%j-%M%S-100%%/%F/%y":         "2026035-0506-100%/2026-02-04/26orders-LOG-00000000000000000017.jsonl",
		fmt.Sprintf("%%s=%d/", 0) + "/": fmt.Sprintf("%d=0//orders-LOG-00000000000000000017.jsonl", at.Unix()),
	} {
		s := open(t, srv, func(o *s3.Options) { o.Prefix, o.Clock = prefix, func() time.Time { return at } })
		if got := s.Key(17); got != want {
			t.Errorf("prefix %q: got %s, want %s", prefix, got, want)
		}
		if !s.Owns(want) {
			t.Errorf("prefix %q: %s is not recognized", prefix, want)
		}
	}
	for _, test := range []struct {
		format, want string
		compression  shipper.Compression
	}{
		{s3.JSONL, ".jsonl", shipper.Plain}, {s3.JSONL, ".jsonl.gz", shipper.Gzip}, {s3.JSONL, ".jsonl.zst", shipper.Zstd},
		{s3.Parquet, ".parquet", shipper.Plain}, {s3.Parquet, ".parquet", shipper.Zstd},
	} {
		s := open(t, srv, func(o *s3.Options) { o.Format, o.Compression = test.format, test.compression })
		if got := s.Key(1); !strings.HasSuffix(got, "1"+test.want) {
			t.Errorf("got key %s, want extension %s", got, test.want)
		}
	}
}

func TestPrefix_RejectsOtherConversions(t *testing.T) {
	for _, prefix := range []string{"%", "a%", "%q", "%-d", "%E/"} {
		if s3.ValidPrefix(prefix) == nil {
			t.Errorf("prefix %q: got no error", prefix)
		}
	}
}

func TestOptions_AreChecked(t *testing.T) {
	for _, change := range []func(*s3.Options){
		func(o *s3.Options) { o.Bucket = "" }, func(o *s3.Options) { o.Stream = "" }, func(o *s3.Options) { o.LogID = "" },
		func(o *s3.Options) { o.Format = "csv" }, func(o *s3.Options) { o.Compression = "lz4" }, func(o *s3.Options) { o.PartSize = 5<<20 - 1 },
		func(o *s3.Options) { o.RollSize = 5<<20*10_000 + 1 }, func(o *s3.Options) { o.Tags = "a=%" }, func(o *s3.Options) { o.Prefix = "%q" },
		func(o *s3.Options) { o.Format, o.Envelope = s3.Parquet, &shipper.Envelope{} },
	} {
		o := s3.Options{Bucket: "b", Stream: "s", LogID: "L"}
		change(&o)
		if _, err := s3.New(t.Context(), o); err == nil {
			t.Errorf("%+v: got no error", o)
		}
	}
}

func TestStart_AbortsOnlyOwnUploads(t *testing.T) {
	srv := fakes3.Start(t)
	const offset = "-00000000000000000001"
	mine := []string{"raw/dt=2026-01-01/orders-LOG" + offset + ".jsonl", "raw/dt=2025-12-31/orders-LOG" + offset + ".parquet"}
	others := []string{
		"raw/dt=2026-01-01/orders-LOG.BRANCH" + offset + ".jsonl", "raw/dt=2026-01-01/other-LOG" + offset + ".jsonl",
		"raw/dt=2026-01-01/x/orders-LOG" + offset + ".jsonl", "raw/dt=2026-01-01/orders-LOG" + offset + ".jsonl.tmp", "raw/dt=today/orders-LOG" + offset + ".jsonl",
	}
	for _, key := range slices.Concat(mine, others) {
		srv.Begin(key)
	}
	if next, err := open(t, srv, nil).Recover(t.Context(), 5, nil); next != 5 || err != nil {
		t.Fatalf("got %d, %v, want 5", next, err)
	}
	slices.Sort(others)
	if got := srv.Uploads(); !slices.Equal(got, others) {
		t.Errorf("got uploads %v, want %v", got, others)
	}
}

func TestStart_NamesTheFault(t *testing.T) {
	for _, test := range []struct {
		fault fakes3.Fault
		want  string // "": the sink works
	}{
		{fakes3.Fault{Status: 404, Code: "NoSuchBucket"}, "operator NoSuchBucket"},
		{fakes3.Fault{Status: 503, Code: "SlowDown"}, "throttled SlowDown"},
		{fakes3.Fault{Cut: true}, "transient connection"},
		{fakes3.Fault{Status: 403, Code: "AccessDenied"}, ""}, // to list uploads: it is no reason not to deliver
		{fakes3.Fault{Status: 501, Code: "NotImplemented"}, ""},
	} {
		srv := fakes3.Start(t)
		srv.Fail = func(fakes3.Request) fakes3.Fault { return test.fault }
		got := ""
		if _, err := open(t, srv, nil).Recover(t.Context(), 1, nil); err != nil {
			got = err.Class.String() + " " + err.Code
		}
		if got != test.want {
			t.Errorf("%+v: got %q, want %q", test.fault, got, test.want)
		}
	}
}

func TestErrors_HaveAClass(t *testing.T) {
	for _, test := range []struct {
		status int
		code   string
		want   shipper.Class
	}{
		{404, "NoSuchBucket", shipper.Operator}, {403, "AccessDenied", shipper.Operator}, {403, "AllAccessDisabled", shipper.Operator},
		{403, "InvalidAccessKeyId", shipper.Operator}, {403, "SignatureDoesNotMatch", shipper.Operator}, {400, "InvalidToken", shipper.Operator},
		{400, "KMS.DisabledException", shipper.Operator}, {400, "KMS.NotFoundException", shipper.Operator}, {301, "PermanentRedirect", shipper.Operator},
		{400, "AuthorizationHeaderMalformed", shipper.Operator}, {400, "InvalidArgument", shipper.Operator}, {400, "EntityTooLarge", shipper.Operator},
		{400, "InvalidStorageClass", shipper.Operator}, {400, "ExpiredToken", shipper.Transient}, {403, "RequestTimeTooSkewed", shipper.Transient},
		{400, "KMS.ThrottlingException", shipper.Throttled}, {503, "SlowDown", shipper.Throttled}, {503, "ServiceUnavailable", shipper.Throttled},
		{500, "InternalError", shipper.Transient}, {400, "RequestTimeout", shipper.Transient}, {400, "BadDigest", shipper.Transient},
		{409, "OperationAborted", shipper.Transient}, {409, "ConditionalRequestConflict", shipper.Transient}, {413, "", shipper.Operator},
		{507, "StorageFull", shipper.Transient},
	} {
		srv := fakes3.Start(t)
		srv.Fail = func(fakes3.Request) fakes3.Fault { return fakes3.Fault{Status: test.status, Code: test.code} }
		s := open(t, srv, nil)
		if n, err := s.Add(t.Context(), events(1, 60)); n != 1 || err != nil {
			t.Fatalf("add: %d, %v", n, err)
		}
		s.Seal()
		_, err := s.Commit(t.Context())
		if err == nil || err.Class != test.want || err.Restart || err.Rejected != nil || err.TooLarge {
			t.Errorf("%d %s: got %+v, want %v", test.status, test.code, err, test.want)
		}
	}
}

func TestObject_HasTheConfiguredAttributes(t *testing.T) {
	for _, n := range []int{1, 20} { // one request; parts
		srv := fakes3.Start(t)
		s := &stream{events: events(n, 60)}
		s.run(t, func() *s3.Sink {
			return open(t, srv, func(o *s3.Options) {
				o.RollSize, o.KMSKeyID, o.Tags, o.StorageClass = 1<<20, "alias/lake", "team=metering&a=b", "STANDARD_IA"
			})
		})
		for _, o := range srv.Objects() {
			for name, want := range map[string]string{
				"X-Amz-Server-Side-Encryption": "aws:kms", "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id": "alias/lake",
				"X-Amz-Tagging": "team=metering&a=b", "X-Amz-Storage-Class": "STANDARD_IA", "Content-Type": "application/x-ndjson", "X-Amz-Meta-Standpipe-First": "1",
			} {
				if got := o.Header.Get(name); got != want {
					t.Errorf("%d events: got %s: %q, want %q", n, name, got, want)
				}
			}
		}
		s.check(t, srv)
	}
}

// Another writer's object under the key is not ours. Nothing counts as delivered then, and nothing is overwritten.
func TestCommit_StopsAtAnObjectOfAnotherWriter(t *testing.T) {
	srv := fakes3.Start(t)
	s := open(t, srv, nil)
	srv.Put(s.Key(1), fakes3.Object{Body: []byte("theirs"), Metadata: map[string]string{"standpipe-attempt": "another"}})
	if _, err := s.Add(t.Context(), events(3, 60)); err != nil {
		t.Fatal(err)
	}
	state := s.Seal()
	for range 2 {
		if _, err := s.Commit(t.Context()); err == nil || err.Code != "ObjectExists" || err.Class != shipper.Operator || err.Restart {
			t.Fatalf("commit: got %+v, want ObjectExists", err)
		}
	}
	if _, err := open(t, srv, nil).Recover(t.Context(), 1, state); err == nil || err.Code != "ObjectExists" {
		t.Errorf("recover: got %v, want ObjectExists", err)
	}
	if got := string(srv.Objects()[s.Key(1)].Body); got != "theirs" {
		t.Errorf("got object %q", got)
	}
}

// The agent stops while it writes a range again, so the new attempt ends earlier. Then the old attempt's request succeeds.
func TestCommit_SettlesTheAttemptThatWon(t *testing.T) {
	srv := fakes3.Start(t)
	var forbidden atomic.Bool
	completed := 0
	srv.Fail = func(r fakes3.Request) fakes3.Fault {
		switch r.Operation {
		case "CompleteMultipartUpload":
			if completed++; completed == 1 {
				return fakes3.Fault{Cut: true, Late: 1000}
			}
		case "AbortMultipartUpload", "ListMultipartUploads": // the old upload cannot be aborted yet
			if forbidden.Load() {
				return fakes3.Fault{Status: 403, Code: "AccessDenied"}
			}
		}
		return fakes3.Fault{}
	}
	first := open(t, srv, nil)
	add(t, first, events(9, 60))
	state := first.Seal()
	if _, err := first.Commit(t.Context()); err == nil {
		t.Fatal("got no error")
	}

	second := open(t, srv, nil)
	forbidden.Store(true)
	if next, err := second.Recover(t.Context(), 1, state); next != 1 || err != nil {
		t.Fatalf("recover: %d, %v", next, err)
	}
	add(t, second, events(9, 60)[:4])
	state = second.Seal()
	srv.Settle()
	if _, err := second.Commit(t.Context()); err == nil || !err.Restart || err.Class != shipper.Transient {
		t.Fatalf("commit: got %+v, want a restart", err)
	}
	second.Abort(t.Context())
	if next, err := second.Recover(t.Context(), 1, state); next != 10 || err != nil {
		t.Errorf("got %d, %v, want 10: the object has the first nine events", next, err)
	}
}

// An unknown outcome is resolved under the old key and in the old format, even if the settings have changed.
func TestRecover_WritesAgainUnderTheOldSettings(t *testing.T) {
	srv := fakes3.Start(t)
	first := open(t, srv, nil)
	add(t, first, events(3, 60))
	state := first.Seal()
	second := open(t, srv, func(o *s3.Options) { o.Format, o.Prefix = s3.Parquet, "other/" })
	if next, err := second.Recover(t.Context(), 1, state); next != 1 || err != nil {
		t.Fatalf("recover: %d, %v", next, err)
	}
	all := events(6, 60)
	if n, err := second.Add(t.Context(), all); n != 3 || err != nil {
		t.Fatalf("add: got %d events, %v, want 3", n, err)
	}
	second.Seal()
	if _, err := second.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	add(t, second, all[3:])
	second.Seal()
	if _, err := second.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := []string{"other/orders-LOG-00000000000000000004.parquet", first.Key(1)}
	if got := slices.Sorted(maps.Keys(srv.Objects())); !slices.Equal(got, want) {
		t.Errorf("got objects %v, want %v", got, want)
	}
	(&stream{events: all}).check(t, srv)
}

func TestRecover_AfterAChangeOfBucket(t *testing.T) {
	for _, delivered := range []bool{true, false} {
		srv := fakes3.Start(t)
		first := open(t, srv, nil)
		add(t, first, events(3, 60))
		state := first.Seal()
		want := uint64(1)
		if delivered {
			want = 4
			if _, err := first.Commit(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		second := open(t, srv, func(o *s3.Options) { o.Bucket = "new" })
		if next, err := second.Recover(t.Context(), 1, state); next != want || err != nil {
			t.Errorf("delivered %v: got %d, %v, want %d", delivered, next, err, want)
		}
		third := open(t, srv, func(o *s3.Options) { o.AWS.Endpoint += "/" })
		if next, err := third.Recover(t.Context(), 1, state); next != 1 || err != nil {
			t.Errorf("another endpoint: got %d, %v, want 1", next, err)
		}
	}
}

func TestRecover_IgnoresOtherStates(t *testing.T) {
	srv := fakes3.Start(t)
	for _, state := range []string{"", "{}", "null", "\x00\x01", `{"path":"/var/log","files":[]}`, `{"sink":"s3"}`} {
		if next, err := open(t, srv, nil).Recover(t.Context(), 7, []byte(state)); next != 7 || err != nil {
			t.Errorf("state %q: got %d, %v, want 7", state, next, err)
		}
	}
}

func TestDue_IsTheAgeOfTheObject(t *testing.T) {
	srv := fakes3.Start(t)
	now := time.Now()
	s := open(t, srv, func(o *s3.Options) { o.Clock, o.RollInterval = func() time.Time { return now }, time.Minute })
	if got := s.Due(); !got.IsZero() {
		t.Errorf("no range: got %v", got)
	}
	begun := now
	add(t, s, events(1, 60))
	now = now.Add(time.Second)
	add(t, s, events(2, 60)[1:])
	if got := s.Due(); !got.Equal(begun.Add(time.Minute)) {
		t.Errorf("got %v, want a minute after the first event", got.Sub(begun))
	}
	now = now.Add(time.Hour)
	all := events(17, 60)
	add(t, s, all[2:16]) // 960 bytes
	state := s.Seal()
	s = open(t, srv, func(o *s3.Options) { o.Clock = func() time.Time { return now } })
	if _, err := s.Recover(t.Context(), 1, state); err != nil {
		t.Fatal(err)
	}
	add(t, s, all[:15])
	if got := s.Due(); !got.After(now) {
		t.Errorf("written again, one event missing: got %v, want a later time", got)
	}
	add(t, s, all[15:16])
	if got := s.Due(); got.After(now) {
		t.Errorf("written again, complete: got %v, want now", got)
	}
	if n, err := s.Add(t.Context(), all[16:]); n != 0 || err != nil {
		t.Errorf("written again, complete: %d more events were added, %v", n, err)
	}
}

func TestParquet_RejectsWhatAStringCannotHold(t *testing.T) {
	srv := fakes3.Start(t)
	s := &stream{events: events(20, 60), chunk: 7}
	for _, i := range []int{0, 1, 9, 19} {
		s.events[i].Data = []byte{0xff, byte(i)}
	}
	s.run(t, func() *s3.Sink { return open(t, srv, func(o *s3.Options) { o.Format, o.RollSize = s3.Parquet, 1<<20 }) })
	if want := []uint64{1, 2, 10, 20}; !slices.Equal(s.dead, want) {
		t.Errorf("got dead letters %v, want %v", s.dead, want)
	}
	if got := len(srv.Objects()); got != 2 {
		t.Errorf("got %d objects, want 2: a rejected event ends an object, and discards none", got)
	}
	s.check(t, srv)
}

func TestUpload_ThatIsAbortedByOthersIsRepeated(t *testing.T) {
	for n := range 12 {
		srv := fakes3.Start(t)
		s := &stream{events: events(40, 60)}
		srv.Fail = func(r fakes3.Request) fakes3.Fault {
			if r.N == n {
				srv.AbortAll()
			}
			return fakes3.Fault{}
		}
		s.run(t, func() *s3.Sink { return open(t, srv, nil) })
		s.check(t, srv)
	}
}

func TestAdd_ReturnsWhenTheContextEnds(t *testing.T) {
	srv := fakes3.Start(t)
	stop := make(chan struct{})
	defer close(stop)
	srv.Fail = func(fakes3.Request) fakes3.Fault { <-stop; return fakes3.Fault{} }
	s := open(t, srv, func(o *s3.Options) { o.AWS.Timeout = 2 * time.Second })
	n, err := s.Add(t.Context(), events(10, 60))
	if err == nil || err.Code != shipper.CodeTimeout || err.Class != shipper.Transient || n != 6 {
		t.Errorf("got %d events, %+v, want a timeout after 6", n, err)
	}
}

func add(t *testing.T, s *s3.Sink, some []wal.Event) {
	t.Helper()
	if n, err := s.Add(t.Context(), some); n != len(some) || err != nil {
		t.Fatalf("add: got %d of %d events, %v", n, len(some), err)
	}
}

package sqs_test

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/standpipe/standpipe/shipper/sink"
	"github.com/standpipe/standpipe/shipper/sink/sqs"
	"github.com/standpipe/standpipe/wal"
)

// fake is a queue of SQS behind the JSON protocol. It drops messages with a deduplication ID that it has seen.
type fake struct {
	t    testing.TB
	http *httptest.Server
	url  string // of the queue
	most int    // its MaximumMessageSize; 0: it may not be read

	mu       sync.Mutex
	messages []message
	seen     map[string]bool
	requests int
	faults   []fault // of the next requests, one each
}

// message is an entry of a request.
type message struct {
	ID                     string `json:"Id"`
	MessageBody            string
	MessageGroupID         string `json:"MessageGroupId"`
	MessageDeduplicationID string `json:"MessageDeduplicationId"`
	MessageAttributes      map[string]struct{ DataType, StringValue string }
}

// fault is the failure of one request.
type fault struct {
	status int    // 0: none
	code   string // of the request, or of its failed entries
	text   string

	entries []int // fail
	sender  bool  // by the sender's fault

	hang      bool                        // there is no response before the client ends the request
	arrived   func()                      // called before that
	cut, late bool                        // the connection breaks before or after the messages are stored
	response  func(map[string]any) string // replaces the response
}

func start(t testing.TB, queue string) *fake {
	f := &fake{t: t, seen: make(map[string]bool), most: 1 << 20}
	f.http = httptest.NewServer(f)
	f.url = f.http.URL + "/123456789012/" + queue
	t.Cleanup(f.http.Close)
	return f
}

func (f *fake) options() sqs.Options {
	return sqs.Options{
		QueueURL: f.url, Source: "orders", Branches: []wal.Branch{{First: 1, ID: "LOG"}, {First: 100_000, ID: "LOG.branch"}},
		AWS: sink.AWS{Region: "eu-west-1", Credentials: credentials.NewStaticCredentialsProvider("AKIDFAKE", "secret", "")},
	}
}

func (f *fake) open(change func(*sqs.Options)) *sqs.Sink {
	f.t.Helper()
	o := f.options()
	if change != nil {
		change(&o)
	}
	s, err := sqs.New(f.t.Context(), o)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { s.Close() })
	return s
}

func (f *fake) fail(faults ...fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = append(f.faults, faults...)
}

func (f *fake) stored() []message {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.messages)
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	if f.hangs(r) {
		panic(http.ErrAbortHandler)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	if r.Header.Get("X-Amz-Target") == "AmazonSQS.GetQueueAttributes" {
		if f.most == 0 {
			refuse(w, fault{status: 403, code: "AccessDeniedException", text: "no"})
			return
		}
		fmt.Fprintf(w, `{"Attributes":{"MaximumMessageSize":"%d"}}`, f.most)
		return
	}
	f.requests++
	var meets fault
	if len(f.faults) > 0 {
		meets, f.faults = f.faults[0], f.faults[1:]
	}
	switch {
	case meets.cut:
		panic(http.ErrAbortHandler)
	case meets.status != 0 && meets.entries == nil:
		refuse(w, meets)
		return
	}
	var request struct {
		QueueURL string `json:"QueueUrl"`
		Entries  []message
	}
	if err := json.Unmarshal(body, &request); err != nil || request.QueueURL != f.url || r.Header.Get("X-Amz-Target") != "AmazonSQS.SendMessageBatch" {
		f.t.Errorf("%s of queue %q: %v", r.Header.Get("X-Amz-Target"), request.QueueURL, err)
	}
	response := f.store(request.Entries, meets)
	switch {
	case meets.late:
		panic(http.ErrAbortHandler)
	case meets.response != nil:
		io.WriteString(w, meets.response(response))
	default:
		json.NewEncoder(w).Encode(response)
	}
}

// hangs waits for the end of a request that has no response.
func (f *fake) hangs(r *http.Request) bool {
	f.mu.Lock()
	meets := len(f.faults) > 0 && f.faults[0].hang
	var arrived func()
	if meets {
		arrived, f.faults = f.faults[0].arrived, f.faults[1:]
	}
	f.mu.Unlock()
	if meets {
		arrived()
		<-r.Context().Done()
	}
	return meets
}

func refuse(w http.ResponseWriter, meets fault) {
	w.WriteHeader(meets.status)
	fmt.Fprintf(w, `{"__type":"com.amazonaws.sqs#%s","message":%q}`, meets.code, meets.text)
}

// store stores the entries that do not meet the fault.
func (f *fake) store(entries []message, meets fault) map[string]any {
	var successful, failed []map[string]any
	groups, total := make(map[string]bool), 0
	for i, e := range entries {
		size := len(e.MessageBody)
		for name, a := range e.MessageAttributes {
			size += len(name) + len(a.DataType) + len(a.StringValue)
		}
		total += size
		fifo := strings.HasSuffix(f.url, ".fifo")
		switch {
		case len(e.MessageAttributes) > 10 || size > f.limit() || e.MessageBody == "":
			f.t.Errorf("a message of %d bytes with %d attributes", size, len(e.MessageAttributes))
		case fifo != (e.MessageGroupID != "") || fifo != (e.MessageDeduplicationID != "") || len(e.MessageDeduplicationID) > 128:
			f.t.Errorf("group %q, deduplication ID %q", e.MessageGroupID, e.MessageDeduplicationID)
		case fifo && groups[e.MessageGroupID]:
			f.t.Errorf("two messages of group %s in a request", e.MessageGroupID)
		}
		groups[e.MessageGroupID] = true
		if slices.Contains(meets.entries, i) {
			failed = append(failed, map[string]any{"Id": e.ID, "Code": meets.code, "Message": meets.text, "SenderFault": meets.sender})
			continue
		}
		sum := md5.Sum([]byte(e.MessageBody))
		successful = append(successful, map[string]any{"Id": e.ID, "MessageId": strconv.Itoa(len(f.messages)), "MD5OfMessageBody": hex.EncodeToString(sum[:])})
		if fifo && f.seen[e.MessageDeduplicationID] {
			continue
		}
		f.seen[e.MessageDeduplicationID] = true
		f.messages = append(f.messages, e)
	}
	if len(entries) > 10 || total > max(f.limit(), 256<<10) {
		f.t.Errorf("a request of %d messages and %d bytes", len(entries), total)
	}
	return map[string]any{"Successful": successful, "Failed": failed}
}

func (f *fake) limit() int {
	if f.most == 0 {
		return 1 << 20
	}
	return f.most
}

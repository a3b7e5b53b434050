package admin_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/standpipe/standpipe/agent/admin"
)

var (
	started = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	now     = started.Add(time.Minute)
)

// source is a Source with fixed results.
type source struct {
	status      admin.Status
	live, ready error
}

func (s *source) Status() admin.Status { return s.status }
func (s *source) Live() error          { return s.live }
func (s *source) Ready() error         { return s.ready }

// sample has the values of the contract's example.
func sample() admin.Status {
	return admin.Status{
		Agent: admin.AgentStatus{
			ID: "01JD0000000000000000000000", NodeName: "gateway-17", Version: "0.1.0", State: "running",
			StartedAt: admin.Time{Time: started.In(time.FixedZone("", 3600))},
		},
		WAL:  admin.WALStatus{Bytes: 1234, MaxBytes: 8 << 30, Segments: 3, Written: 8192, WrittenPerDay: 1e9, DeviceWritten: 12288, DeviceWrittenPerDay: 2e9, StateBytes: 567, MaxStateBytes: 1 << 30, DeadBytes: 89, MaxDeadBytes: 1 << 30, DiskFreeBytes: 20 << 30, DiskBytes: 64 << 30, UntilFullSeconds: 5400, SetAside: []string{"dead.db.corrupt"}},
		Link: admin.LinkStatus{Sent: 3000, Received: 400, PerDay: 5e6},
		Streams: []admin.StreamStatus{{
			Name: "clicks", FirstOffset: 1, NextOffset: 10001,
			Appended:   admin.Volume{Events: 10000, Bytes: 5120000},
			AppendRate: admin.Rate{Events: 100.5, Bytes: 51456},
			HeldBytes:  576000, MaxBytes: 1 << 30,
			Destinations: []admin.DestinationStatus{sampleDestination()},
		}},
		Accepting: admin.Accepting{Reason: "disk_full", Since: admin.Time{Time: started.Add(4 * time.Second)}},
		Problems: []admin.Problem{{
			Kind: "disk_full", Severity: admin.Critical, Since: admin.Time{Time: started.Add(4 * time.Second)},
			Text: "events are not accepted: the disk is full", Remedy: "free disk space",
		}},
		Reload:       admin.ReloadStatus{At: admin.Time{Time: started.Add(5 * time.Second)}, Error: "agent.hcl:3:1: unknown setting"},
		Certificates: []admin.CertificateStatus{{File: "tls/cert.pem", Expires: admin.Time{Time: started.AddDate(0, 1, 0)}}},
		Access: admin.AccessStatus{
			Identities: []admin.IdentityStatus{{}, {
				Name: "metering", Appended: admin.Volume{Events: 9000, Bytes: 4608000}, LastAppendAt: admin.Time{Time: started.Add(time.Second)},
				Refused: admin.RefusedEvents{Events: 15, Reasons: map[string]uint64{"rate": 10, "forbidden": 5}},
				LastRefusal: admin.Refusal{
					At: admin.Time{Time: started.Add(2 * time.Second)}, Why: `identity "metering" may not write to stream "clicks"`,
				},
			}},
			Unknown: admin.UnknownStatus{Requests: 3, LastRefusal: admin.Refusal{
				At: admin.Time{Time: started}, Why: "the token is not known here", From: "192.0.2.7:4711",
			}},
		},
	}
}

func sampleDestination() admin.DestinationStatus {
	return admin.DestinationStatus{
		Type: "firehose", Name: "archive", State: admin.Running,
		Checkpoint: 9001,
		Delivered:  admin.Volume{Events: 9000, Bytes: 4608000},
		Pending:    admin.Pending{Events: 1000, Bytes: 512000, OldestSeconds: 1.5},
		Requests:   12, Records: 24, BilledBytes: 4700160,
		WaitsFor: "paced", PaceBytes: 5 << 20,
		DeadLetters: 2, UntilFullSeconds: 7200, PausedAt: admin.Time{Time: started.Add(3 * time.Second)},
		NewestDeliveredSeconds: 0.75,
		LastDeliveryAt:         admin.Time{Time: started.Add(58250 * time.Millisecond)},
	}
}

// serve makes a Server of the source whose clock stands still.
func serve(s *source, m *admin.Metrics) *admin.Server {
	return admin.New(admin.Options{Source: s, Metrics: m, Clock: func() time.Time { return now }})
}

func ask(t *testing.T, s *admin.Server, method, path string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return w
}

func get(t *testing.T, s *admin.Server, path string) string {
	t.Helper()
	w := ask(t, s, http.MethodGet, path)
	if w.Code != http.StatusOK {
		t.Fatalf("GET %s: got %d: %s", path, w.Code, w.Body)
	}
	return w.Body.String()
}

func wantText(t *testing.T, got string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(got, want) {
			t.Errorf("got no %q in:\n%s", want, got)
		}
	}
}

package admin_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/standpipe/standpipe/agent/admin"
)

func TestStatus_IsTheContracts(t *testing.T) {
	want, err := os.ReadFile("testdata/status.json")
	if err != nil {
		t.Fatal(err)
	}
	if got := get(t, serve(&source{status: sample()}, nil), "/v1/status"); got != string(want) {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

func TestStatus_ReadsItself(t *testing.T) {
	body := get(t, serve(&source{status: sample()}, nil), "/v1/status")
	var read admin.Status
	if err := json.Unmarshal([]byte(body), &read); err != nil {
		t.Fatal(err)
	}
	if got := get(t, serve(&source{status: read}, nil), "/v1/status"); got != body {
		t.Errorf("got %s\nwant %s", got, body)
	}
}

func TestStatus_HasNoNull(t *testing.T) {
	s := &source{status: admin.Status{Streams: []admin.StreamStatus{{Name: "new"}}}}
	body := get(t, serve(s, nil), "/v1/status")
	wantText(t, body, `"destinations": []`, `"started_at": ""`)
	if s.status.Streams[0].Destinations != nil {
		t.Error("the source's own snapshot was changed")
	}
	body += get(t, serve(&source{}, nil), "/v1/status")
	wantText(t, body, `"streams": []`, `"identities": []`)
	if strings.Contains(body, "null") {
		t.Errorf("got null in:\n%s", body)
	}
}

func TestStatus_HasUnknownReasons(t *testing.T) {
	status := sample()
	status.Streams[0].Destinations[0].Dropped = admin.Dropped{Events: 5, Reasons: admin.Reasons{"age": 2, "whim": 3}}
	wantText(t, get(t, serve(&source{status: status}, nil), "/v1/status"), `"age": 2`, `"whim": 3`, `"full": 0`)
}

func TestStatus_CountsRefusals(t *testing.T) {
	m := admin.NewMetrics()
	m.Refused("clicks", "full", 7)
	m.Refused("clicks", "invalid", 2)
	m.Refused("", "unknown", 100)
	var got admin.Status
	body := get(t, serve(&source{status: sample()}, m), "/v1/status")
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	if got, want := got.Streams[0].Refused.Events, uint64(9); got != want {
		t.Errorf("refused: got %d, want %d", got, want)
	}
}

func TestCheck_FindsUnbalancedLedger(t *testing.T) {
	tests := []struct {
		name   string
		change func(*admin.DestinationStatus)
		want   string
	}{
		{"balanced", func(*admin.DestinationStatus) {}, ""},
		{"one lost", func(d *admin.DestinationStatus) { d.Delivered.Events-- },
			`stream "clicks", destination "archive": appended 10000, but delivered 8999 + dead 0 + dropped 0 + pending 1000`},
		{"a drop without reason", func(d *admin.DestinationStatus) { d.Dropped.Events++; d.Delivered.Events-- },
			`stream "clicks", destination "archive": dropped 1, but 0 by reasons`},
		{"settled ahead of the log", func(d *admin.DestinationStatus) { d.Checkpoint = 10002 },
			`stream "clicks", destination "archive": checkpoint 10002, but the next offset is 10001`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			status := sample()
			test.change(&status.Streams[0].Destinations[0])
			got := ""
			if err := status.Check(); err != nil {
				got = err.Error()
			}
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

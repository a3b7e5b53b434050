package firehose_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink/firehose"
	"github.com/standpipe/standpipe/test/fakeaws"
)

// Check accepts an active stream alone, and needs an operator for any other.
func TestCheck_OfEachState(t *testing.T) {
	for _, c := range []struct {
		name, body string
		code       string // of the error; "": none
		status     int
	}{
		{"active", `{"DeliveryStreamDescription": {"DeliveryStreamStatus": "ACTIVE"}}`, "", http.StatusOK},
		{"deleting", `{"DeliveryStreamDescription": {"DeliveryStreamStatus": "DELETING"}}`, "DELETING", http.StatusOK},
		{"absent", `{"__type": "ResourceNotFoundException", "message": "no stream"}`, "ResourceNotFoundException", http.StatusBadRequest},
		{"not allowed", `{"__type": "AccessDeniedException", "message": "no right"}`, "AccessDeniedException", http.StatusBadRequest},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/x-amz-json-1.1")
				w.WriteHeader(c.status)
				fmt.Fprint(w, c.body)
			}))
			defer srv.Close()
			o := firehose.Options{DeliveryStream: "clicks", AWS: fakeaws.Start(t).Options()}
			o.AWS.Endpoint = srv.URL
			f, err := firehose.New(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			got := f.Check(t.Context())
			switch {
			case c.code == "" && got != nil:
				t.Errorf("got %v, want none", got)
			case c.code != "" && (got == nil || got.Code != c.code || got.Class != shipper.Operator):
				t.Errorf("got %+v, want %s for an operator", got, c.code)
			}
		})
	}
}

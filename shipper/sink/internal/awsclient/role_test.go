package awsclient_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/standpipe/standpipe/test/fakeaws"
)

// A role of another account is lent for an external ID.
func TestRole_IsAssumedWithExternalIDAndSessionName(t *testing.T) {
	requests := make(chan url.Values, 10)
	sts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.ParseForm()
		requests <- r.PostForm
		w.WriteHeader(http.StatusForbidden)
	}))
	defer sts.Close()
	t.Setenv("AWS_ENDPOINT_URL_STS", sts.URL)
	o := fakeaws.Start(t).Options()
	o.RoleARN, o.ExternalID, o.SessionName = "arn:aws:iam::123456789012:role/ship", "customer-42", "gateway-17"
	send(t, o)
	got := <-requests
	if got.Get("RoleArn") != o.RoleARN || got.Get("ExternalId") != "customer-42" || got.Get("RoleSessionName") != "gateway-17" {
		t.Errorf("got %v", got)
	}

	o.ExternalID, o.SessionName = "", ""
	send(t, o)
	for len(requests) > 0 {
		got = <-requests
	}
	if got.Has("ExternalId") || got.Get("RoleSessionName") == "" {
		t.Errorf("got %v, want no external ID, and the SDK's name of the session", got)
	}
}

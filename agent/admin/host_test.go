package admin_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/standpipe/standpipe/agent/admin"
)

// overTCP serves s on loopback until the test ends.
func overTCP(t *testing.T, s *admin.Server) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// getWithHost sends a request with that Host and returns the response's code.
func getWithHost(t *testing.T, address, method, path, host, headers string) int {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: %s\r\n%sConnection: close\r\n\r\n", method, path, host, headers)
	r, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("%s %s of %q: %v", method, path, host, err)
	}
	r.Body.Close()
	return r.StatusCode
}

func TestHost_ThatIsAForeignNameIsRejected(t *testing.T) {
	s := admin.New(admin.Options{Source: &source{status: sample()}, Dead: &dead{}, Names: []string{"Gateway-17", "admin.site.example"}})
	address := overTCP(t, s)
	_, port, _ := net.SplitHostPort(address)
	for host, own := range map[string]bool{
		address: true, "127.0.0.1": true, "10.1.2.3:80": true, "[::1]:" + port: true, "[::1]": true, "[fe80::1%25eth0]:1": true,
		"localhost": true, "localhost:" + port: true, "LOCALHOST:1": true, "localhost.": true, "standpipe": true, "standpipe:1": true,
		"gateway-17:" + port: true, "GATEWAY-17": true, "admin.site.example": true, "": true,

		"evil.example": false, "evil.example:" + port: false, "127.0.0.1.evil.example": false, "localhost.evil.example": false,
		"evil.example.": false, "gateway-17.evil.example": false, "xlocalhost": false, "2130706433": false, "0x7f.1": false,
		"127.1:" + port: false, "standpipe.evil.example": false, "[evil.example]": false, "site.example": false,
	} {
		for _, path := range []string{"/", "/v1/status", "/metrics", "/v1/dead", "/readyz", "/livez", "/nothing"} {
			if got := getWithHost(t, address, "GET", path, host, ""); (got != http.StatusForbidden) != own {
				t.Errorf("GET %s of %q: got %d, own %v", path, host, got, own)
			}
		}
		if got := getWithHost(t, address, "POST", "/v1/dead/drop", host, "Content-Type: application/json\r\n"); (got != http.StatusForbidden) != own {
			t.Errorf("POST of %q: got %d, own %v", host, got, own)
		}
	}
}

func TestHost_MayBeAnythingForWhoIsKnown(t *testing.T) {
	address := overTCP(t, guarded(t, &source{status: sample()}, false, admin.Options{}))
	for _, tt := range []struct {
		path, headers string
		want          int
	}{
		{"/v1/status", "Authorization: Bearer good\r\n", 200},
		{"/v1/status", "Authorization: Bearer bad\r\n", 401},
		{"/v1/status", "", 401},
		{"/readyz", "", 200}, // a probe has no credentials, and the response has no details
	} {
		if got := getWithHost(t, address, "GET", tt.path, "admin.service.example", tt.headers); got != tt.want {
			t.Errorf("%s with %q: got %d, want %d", tt.path, strings.TrimSpace(tt.headers), got, tt.want)
		}
	}
}

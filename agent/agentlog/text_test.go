package agentlog_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/agent/agentlog"
)

type place struct {
	Wait time.Duration
	Err  error
}

func TestJSON_HasTheTextsOfTheTextFormat(t *testing.T) {
	tcp := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 7710}
	var nobody *net.TCPAddr
	for _, tt := range []struct {
		value any
		want  string // as JSON
	}{
		{1500 * time.Millisecond, `"1.5s"`},
		{tcp, `"127.0.0.1:7710"`},
		{&net.UnixAddr{Name: "/run/x", Net: "unix"}, `"/run/x"`},
		{netip.MustParseAddrPort("[::1]:1"), `"[::1]:1"`},
		{net.IPv4(1, 2, 3, 4), `"1.2.3.4"`},
		{fmt.Errorf("send: %w", errors.New("no")), `"send: no"`},
		{errors.Join(errors.New("a"), errors.New("b")), `"a\nb"`},
		{[]error{errors.New("a"), errors.New("b")}, `["a","b"]`},
		{[]time.Duration{time.Second, time.Hour}, `["1s","1h0m0s"]`},
		{[]net.Addr{tcp}, `["127.0.0.1:7710"]`},
		{map[string]time.Duration{"a": time.Minute}, `{"a":"1m0s"}`},
		{place{time.Second, errors.New("x")}, `{"Err":"x","Wait":"1s"}`},
		{&place{}, `{"Err":null,"Wait":"0s"}`},
		{nobody, `null`},
		{time.Unix(0, 0).UTC(), `"1970-01-01T00:00:00Z"`},
		{7, `7`}, {uint16(7), `7`}, {true, `true`}, {"a", `"a"`}, {nil, `null`},
	} {
		var out bytes.Buffer
		l := agentlog.New(&hclog.LoggerOptions{Output: &out, JSONFormat: true, Level: hclog.Trace})
		logs := []func(string, ...any){l.Trace, l.Debug, l.Info, l.Warn, l.Error, l.Named("x").Info, l.ResetNamed("y").Info}
		for _, log := range logs {
			log("line", "value", tt.value)
		}
		l.With("value", tt.value).Info("line")
		l.Log(hclog.Info, "line", "value", tt.value)
		lines := json.NewDecoder(&out)
		for i := range len(logs) + 2 {
			var line map[string]json.RawMessage
			if err := lines.Decode(&line); err != nil {
				t.Fatal(err)
			}
			if got := string(line["value"]); got != tt.want {
				t.Errorf("%T, way %d: got %s, want %s", tt.value, i, got, tt.want)
			}
		}
	}
}

func TestText_IsAsHclogWritesIt(t *testing.T) {
	var got, want bytes.Buffer
	o := hclog.LoggerOptions{Output: &got, DisableTime: true}
	agentlog.New(&o).Info("line", "for", time.Second)
	o.Output = &want
	hclog.New(&o).Info("line", "for", time.Second)
	if got.String() != want.String() {
		t.Errorf("got %q, want %q", &got, &want)
	}
}

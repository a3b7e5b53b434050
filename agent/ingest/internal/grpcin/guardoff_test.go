package grpcin_test

import (
	"testing"

	"github.com/standpipe/standpipe/agent/ingest"
	"github.com/standpipe/standpipe/test/ingestkit"
)

// TestHTTP2Guard_OffSwitch: with the guard a listener has a number of requests in progress together, without it each connection
// has its own.
func TestHTTP2Guard_OffSwitch(t *testing.T) {
	const connections, each = 4, 10
	for _, off := range []bool{false, true} {
		server, client := ingestkit.ServeGRPC(t, ingest.Options{Log: ingestkit.NewLog(t), MaxStreams: each, NoHTTP2Guard: off})
		var raws []*rawGRPC
		for range connections {
			r := dialRaw(t, server.Addr())
			raws = append(raws, r)
			for i := range uint32(each) {
				r.Write(rawHead(2*i + 1))
			}
			r.Write(rawFrame(6, 0, 0, make([]byte, 8))) // a ping, which is answered after all before it
			r.awaitPing(t)
		}
		rejected := 0
		for _, r := range raws {
			rejected += r.refused()
		}
		if off && rejected > 0 || !off && rejected == 0 {
			t.Errorf("off %v: %d of %d requests are rejected", off, rejected, connections*each)
		}
		if _, err := client.Append(t.Context(), ingestkit.Request("text", "x")); err != nil {
			t.Errorf("off %v: a whole request: %v", off, err)
		}
	}
}

package statsd_test

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/standpipe/standpipe/shipper/ranged"
	"github.com/standpipe/standpipe/shipper/ranged/rangedtest"
	"github.com/standpipe/standpipe/shipper/sink/statsd"
	"github.com/standpipe/standpipe/test/testkit"
)

// endOfCount is a datagram behind all others.
const endOfCount = "end"

// A server of StatsD confirms nothing, and counts.
func TestConformance(t *testing.T) {
	rangedtest.Run(t, func(t *testing.T) rangedtest.Target {
		s := newServer(t, "unixgram")
		counted := make(chan int)
		go count(s.conn, counted)
		return rangedtest.Target{
			Open: func() ranged.Sink {
				return open(t, s, statsd.Options{Metric: "ev.${name}", NameField: "name", Tags: []string{"tag"}})
			},
			Plan: new(rangedtest.Plan),
			Counted: func() int {
				c, err := net.Dial("unixgram", s.conn.LocalAddr().String())
				testkit.Must(t, err)
				defer c.Close()
				_, err = c.Write([]byte(endOfCount))
				testkit.Must(t, err)
				return <-counted
			},
			Data: func(offset uint64, size int) []byte {
				data := fmt.Appendf(nil, `{"name":"n%d","tag":"t%d","pad":"`, offset%3, offset%7)
				return append(data, strings.Repeat("x", max(size-len(data)-2, 0))+`"}`...)
			},
		}
	})
}

// count sends the sum of the counters in all datagrams up to the end, or -1.
func count(conn net.PacketConn, counted chan<- int) {
	b, sum := make([]byte, 64<<10), 0
	for {
		n, _, err := conn.ReadFrom(b)
		if err != nil {
			return
		}
		if string(b[:n]) == endOfCount {
			counted <- sum
			return
		}
		for line := range strings.SplitSeq(string(b[:n]), "\n") {
			_, rest, _ := strings.Cut(line, ":")
			value, _, _ := strings.Cut(rest, "|")
			v, err := strconv.Atoi(value)
			if err != nil {
				sum = -1 << 30
			}
			sum += v
		}
	}
}

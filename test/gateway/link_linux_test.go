package gateway_test

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/standpipe/standpipe/test/gateway"
	"github.com/standpipe/standpipe/test/testkit"
)

func TestLink_CarriesCountsAndDrops(t *testing.T) {
	w := gateway.Open(t, gateway.Quality{Rate: 8_000_000, Delay: 5 * time.Millisecond, Queue: 64 << 10})
	l, err := w.Service.Listen(gateway.ServiceAddress + ":7")
	testkit.Must(t, err)
	defer l.Close()
	got := make(chan int, 2)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			n, _ := io.Copy(io.Discard, c)
			got <- int(n)
			c.Close()
		}
	}()
	send := func(c net.Conn, n int) {
		t.Helper()
		if _, err := c.Write(make([]byte, n)); err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	c, err := w.Agent.Dial(gateway.ServiceAddress + ":7")
	testkit.Must(t, err)
	send(c, 100_000)
	if n := <-got; n != 100_000 {
		t.Errorf("up: got %d bytes, want 100000", n)
	}
	carried := w.Link.Traffic()
	if carried.Up < 100_000 || carried.Down == 0 || carried.SYNs != 1 || len(carried.Busy) == 0 {
		t.Errorf("up: got %+v, want more than 100000 bytes, bytes down and 1 SYN", carried)
	}

	// Bytes that are sent into the outage arrive after it: TCP sends them again.
	c, err = w.Agent.Dial(gateway.ServiceAddress + ":7")
	testkit.Must(t, err)
	w.Link.Set(false)
	before := w.Link.Traffic()
	send(c, 10_000)
	testkit.Eventually(t, time.Minute, func() error {
		if w.Link.Traffic().Packets == before.Packets {
			return io.ErrNoProgress
		}
		return nil
	})
	if down := w.Link.Traffic(); down.Up != before.Up || len(got) != 0 {
		t.Errorf("down: got %d bytes carried, want %d as before", down.Up, before.Up)
	}
	w.Link.Set(true)
	if n := <-got; n != 10_000 {
		t.Errorf("up again: got %d bytes, want 10000", n)
	}
}

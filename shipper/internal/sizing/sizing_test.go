package sizing_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/standpipe/standpipe/shipper/internal/sizing"
)

const most = 4 << 20

// wire is a link that takes rate bytes a second, and gives up on a request after 30 s.
type wire struct {
	rate    float64
	latency time.Duration
}

func (w wire) send(z *sizing.Sizer, size int) (ok bool, took time.Duration) {
	took = time.Duration(float64(size) / w.rate * 1e9)
	shown := took
	if took < time.Second {
		shown = 0
	}
	if took > 30*time.Second {
		z.Failed(size, size, int(w.rate*30), 30*time.Second, true)
		return false, 30 * time.Second
	}
	z.Stored(size, size, shown)
	return true, took + w.latency
}

// On a link of any rate, after a few requests all of them get through, and take a few seconds or are large enough to be efficient.
func TestSizer_RequestsTakeSeconds(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 300 {
		w := wire{rate: 50 * float64(int(1)<<r.IntN(18)) * (1 + r.Float64())}
		z := sizing.New(r.IntN(2) == 0)
		if r.IntN(2) == 0 {
			z.Interrupted()
		}
		for range 20 {
			w.send(&z, z.Lower(most))
		}
		size := z.Lower(most)
		ok, took := w.send(&z, size)
		if !ok || took > 11*time.Second {
			t.Errorf("%.0f bytes a second: a request of %d bytes takes %s", w.rate, size, took)
		}
		if took < time.Second && size < 8<<10 {
			t.Errorf("%.0f bytes a second: a request of %d bytes only, which takes %s", w.rate, size, took)
		}
	}
}

// Where the events are compressed, the bytes on the wire count. Every request takes about 4 s at least, and if it carries less than
// 8 KiB, it takes 10 s, or it would have 32 KiB if it did not shrink. When the events shrink less all of a sudden, one request is
// lost at most.
func TestSizer_CompressedRequestsAreFew(t *testing.T) {
	const headers, timeout = 900, 30 * time.Second
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 2))
		rate := 500 * math.Pow(100, r.Float64()) // bytes a second
		wire, after := 0.02+1.3*r.Float64(), 0.02+1.3*r.Float64()
		z := sizing.New(true)
		lost := 0
		for n := range 60 {
			if n == 30 {
				wire = after
			}
			size := z.Lower(most)
			sent := int(float64(size) * wire)
			took := time.Duration(float64(sent+headers) / rate * 1e9)
			switch {
			case took > timeout:
				lost++
				acked := float64(rate) * timeout.Seconds()
				z.Failed(size, sent, int(acked), timeout, true)
				z.Interrupted()
				continue
			case took < time.Second:
				z.Stored(size, sent, 0)
			default:
				z.Stored(size, sent, took)
			}
			settled := n%30 >= 20
			if settled && (took > 11*time.Second || size < most && (took < 3*time.Second || took < 8*time.Second && sent < 6<<10 && size < 28<<10)) {
				t.Fatalf("seed %d: %.0f bytes a second, %.2f sent for a byte: request %d of %d bytes, %d sent, takes %s", seed, rate, wire, n, size, sent, took)
			}
		}
		if lost > 1 {
			t.Errorf("seed %d: %.0f bytes a second: %d requests were lost", seed, rate, lost)
		}
	}
}

func TestSizer_FastLinkHasNoBound(t *testing.T) {
	var z sizing.Sizer
	for range 5 {
		z.Stored(most, most, 0)
		z.Stored(1000, 1000, 3*time.Second)
	}
	if got := z.Lower(most); got != most || z.Bounds() {
		t.Errorf("got %d bytes, bounded %v; want %d, and no bound", got, z.Bounds(), most)
	}
	z.Interrupted()
	first := sizing.New(true)
	if got, want := z.Lower(most), first.Lower(most); got != want || z.Beside(2, true) {
		t.Errorf("after an outage: got %d bytes, requests side by side %v; want %d, one at a time, as at the start", got, z.Beside(2, true), want)
	}
	for range 5 {
		z.Stored(z.Lower(most), 0, 0)
	}
	if got := z.Lower(most); got != most {
		t.Errorf("after five requests: got %d bytes, want %d", got, most)
	}
}

// The first request is small and alone. Five that get through quickly, however small, remove the bound: many destinations
// have small requests only, and need them side by side.
func TestSizer_Start(t *testing.T) {
	for _, largest := range []int{most, 200} {
		z := sizing.New(true)
		if size := z.Lower(most); size > 8<<10 || z.Beside(2, true) {
			t.Errorf("at first: got %d bytes, requests side by side %v, want at most 8 KiB, one at a time", size, z.Beside(2, true))
		}
		for range 5 {
			z.Stored(min(z.Lower(most), largest), 0, 0)
		}
		if size := z.Lower(most); size != most || z.Bounds() {
			t.Errorf("after five requests of at most %d bytes: got %d bytes, bounded %v, want %d, and no bound", largest, size, z.Bounds(), most)
		}
	}

	// After an outage too, destinations with small requests only get all of them at once again.
	var small sizing.Sizer
	small.Interrupted()
	if small.Beside(2, true) {
		t.Error("after an outage: got requests side by side, want one at a time")
	}
	for range 5 {
		small.Stored(200, 200, 0)
		small.Lower(most)
	}
	if small.Bounds() {
		t.Error("after an outage and five small requests: got a bound")
	}

	// The responses to many requests may arrive before the next one is formed.
	for n := range 40 {
		z := sizing.New(true)
		for range n {
			z.Stored(200, 200, 0)
		}
		if n > 4 && !z.Beside(64*200, true) {
			t.Errorf("after %d requests: got fewer than 64 at once", n)
		}
	}

	// A failure that shows nothing about the link leaves the bound. One that does sets it.
	z := sizing.New(true)
	z.Failed(8<<10, 8<<10, 0, 0, false)
	z.Interrupted()
	if size := z.Lower(most); size != 8<<10 {
		t.Errorf("after a failure: got %d bytes, want 8 KiB", size)
	}
	z.Failed(8<<10, 8<<10, 3000, 6*time.Second, true)
	z.Stored(200, 200, 0)
	if size := z.Lower(most); size > 8<<10 {
		t.Errorf("on a slow link: got %d bytes after a small request, want at most 8 KiB", size)
	}
}

// A service that hangs is no slow link when the bytes have arrived. Without that evidence, a timeout halves the size, down
// to one byte.
func TestSizer_Timeouts(t *testing.T) {
	var z sizing.Sizer
	z.Failed(100_000, 100_000, 100_000, 2*time.Second, true)
	if got := z.Lower(most); got != most {
		t.Errorf("all bytes had arrived: got %d, want %d", got, most)
	}
	for range 30 {
		z.Failed(z.Lower(most), 0, 0, 0, true)
	}
	if got := z.Lower(most); got != 1 {
		t.Errorf("after 30 timeouts: got %d, want 1", got)
	}
	z = sizing.Sizer{}
	z.Failed(100_000, 0, 0, 0, false)
	if got := z.Lower(most); got != most {
		t.Errorf("a request failed before it was sent: got %d, want %d", got, most)
	}
}

// On a slow link a request starts beside others if its service takes no larger ones, and all of them take no longer than a large one.
func TestSizer_SlowLinkHasFewRequests(t *testing.T) {
	for _, rate := range []int{500, 6000, 100_000} {
		var z sizing.Sizer
		z.Failed(most, most, rate*4, 4*time.Second, true)
		size := z.Lower(most)
		for bytes, want := range map[int]bool{2: true, size: true, size + 1: false} {
			if got := z.Beside(bytes, true); got != want {
				t.Errorf("%d bytes a second: got %v for %d bytes in several requests, want %v", rate, got, bytes, want)
			}
			if z.Beside(bytes, false) {
				t.Errorf("%d bytes a second: a request of a part of what waits starts beside another one", rate)
			}
		}
	}
}

// A link that takes a full request within a few seconds has one at a time. A full request within a second removes the bound.
func TestSizer_BoundStaysUntilAFullRequestIsFast(t *testing.T) {
	var z sizing.Sizer
	z.Failed(most, most, most, 10*time.Second, true)
	for range 20 {
		z.Stored(z.Lower(most), most, 2*time.Second)
	}
	if size := z.Lower(most); size != most || !z.Bounds() {
		t.Errorf("full requests of two seconds: got %d bytes, bounded %v; want %d, one at a time", size, z.Bounds(), most)
	}
	z.Stored(z.Lower(most), most, 0)
	if size := z.Lower(most); size != most || z.Bounds() {
		t.Errorf("a full request within a second: got %d bytes, bounded %v; want %d, and no bound", size, z.Bounds(), most)
	}
}

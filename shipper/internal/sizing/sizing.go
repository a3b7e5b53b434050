// Package sizing bounds the bytes of a destination's requests by the speed of the link, as recent requests have shown it.
// A request should take a few seconds: a larger one is lost when the link goes down, or does not end before its timeout;
// a smaller one pays the latency and the headers too often. On a fast link there is no bound, and a Sizer costs a few
// comparisons a request.
package sizing

import (
	"cmp"
	"time"
)

const (
	// target is the time that a request should take to be sent.
	target = 4 * time.Second
	// A request that sends less than efficient bytes is mostly headers. On a very slow link it may take slowest to be sent.
	efficient = 8 << 10
	slowest   = 10 * time.Second
	// moment is the shortest time to send a request that is measured.
	moment = time.Second
	// start is the bound of the first request of all: a link of 8 kbit/s carries it in base64, after the certificates of the server,
	// within the 30 s of a timeout. It is that of the first one after an outage too, since the link may be another one then.
	start = 8 << 10
	// enough is as good as no bound, for requests of any service, until Lower removes it.
	enough = 1 << 28
	// shrunk is the smallest part of a request that is expected to be sent. One that shrinks less than those before it is then lost
	// on the slowest links only.
	shrunk = 0.25
)

// Sizer bounds the bytes of a destination's requests, as they are before compression. Its zero value is no bound.
type Sizer struct {
	most     int
	starting bool    // no request has shown yet that the link is slow
	fast     bool    // the last one took less than a moment
	wire     float64 // sent bytes for a byte of a request's size, as recent requests have shown; 0: unknown
}

// New makes a Sizer. If the requests use a link, whose speed is not known yet, the first one is small.
func New(link bool) Sizer {
	if !link {
		return Sizer{}
	}
	return Sizer{most: start, starting: true}
}

// Lower returns the bytes that a request may have where it may have most at any rate. It removes a bound of most or above, once a
// request has been fast.
func (z *Sizer) Lower(most int) int {
	switch {
	case z.most == 0 || z.most >= most && z.fast:
		z.slow(0)
	case z.most < most:
		return z.most
	}
	return most
}

// Bounds reports whether requests are bounded.
func (z *Sizer) Bounds() bool { return z.most > 0 }

// Beside reports whether a request may start beside those under way, with which it has so many bytes. On a slow link they only delay
// each other, so none starts unless it is full: then its service takes no larger ones.
func (z *Sizer) Beside(bytes int, full bool) bool {
	alone := z.starting && z.most <= start
	return z.most == 0 || full && !alone && bytes <= z.most
}

// Stored notes that a request of size bytes was stored, that sent bytes of it went out, compressed and encoded (0: unknown), and
// that it took so long to be sent (0: unknown, or less than a second).
func (z *Sizer) Stored(size, sent int, took time.Duration) {
	z.learn(size, sent)
	matters := 2*size >= z.most // the bound does
	switch {
	case took > target*3/2:
		z.slow(z.aim(size, took))
	case z.most == 0:
	case took < moment && (matters || z.starting):
		z.most, z.fast = 4*min(z.most, enough), true
	case matters:
		z.slow(min(z.aim(size, took), 4*min(z.most, enough)))
	}
}

// Failed notes that a request of size bytes failed, after sent bytes of it had gone out. The peer's host has acknowledged acked
// bytes in the time took; 0: unknown. timedOut means that there was no response in time.
func (z *Sizer) Failed(size, sent, acked int, took time.Duration, timedOut bool) {
	if size > 0 {
		z.wire = max(z.wire, float64(sent)/float64(size))
	}
	arrived := int(float64(acked) / cmp.Or(z.wire, 1))
	switch {
	case took > target*3/2 || took >= moment && arrived < size-size/8:
		z.slow(min(z.aim(max(arrived, 1), took), max(size/2, 1)))
	case took == 0 && timedOut:
		z.slow(max(size/2, 1))
	}
}

// Interrupted notes that requests fail: the next one is small.
func (z *Sizer) Interrupted() {
	switch {
	case z.most == 0:
		z.most, z.starting = start, true
	case z.most > start:
		z.most = start
	}
}

// slow sets the bound that a request has shown; 0: none.
func (z *Sizer) slow(most int) { z.most, z.starting, z.fast = most, false, false }

// learn adds a request to the part that is sent. One request shows that they shrink less than before, and only several that
// they shrink more: a request that is far larger than expected may not arrive before its timeout.
func (z *Sizer) learn(size, sent int) {
	if 2*size >= start && sent > 0 { // a small one hardly shrinks
		wire := float64(sent) / float64(size)
		z.wire = max(wire, (z.wire+wire)/2)
	}
}

// size returns the size of a request that sends so many bytes, as far as it is safe to expect that.
func (z *Sizer) size(sent int) int {
	return int(float64(sent) / min(max(cmp.Or(z.wire, 1), shrunk), 1))
}

// aim returns the bytes to aim for on a link that takes so many bytes in that time.
func (z *Sizer) aim(bytes int, in time.Duration) int {
	rate := float64(bytes) / in.Seconds()
	n, least := rate*target.Seconds(), float64(z.size(efficient))
	if n < least {
		n = min(least, rate*slowest.Seconds())
	}
	return max(int(n), 1)
}

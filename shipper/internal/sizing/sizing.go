// Package sizing bounds the bytes of a destination's requests by the speed of the link, as recent requests have shown it.
// A request should take a few seconds: a larger one is lost when the link goes down, or does not end before its timeout;
// a smaller one pays the latency and the headers too often. On a fast link there is no bound, and a Sizer costs a few
// comparisons a request.
package sizing

import "time"

const (
	// target is the time that a request should take to be sent.
	target = 4 * time.Second
	// A request of less than efficient bytes is mostly headers. On a very slow link it may take slowest to be sent.
	efficient = 8 << 10
	slowest   = 10 * time.Second
	// moment is the shortest time to send a request that is measured.
	moment = time.Second
	// start is the bound of the first request of all: a link of 8 kbit/s carries it in base64, after the certificates of the server,
	// within the 30 s of a timeout. It is that of the first one after an outage too, since the link may be another one then.
	start = 8 << 10
	// enough is as good as no bound, for requests of any service, until Lower removes it.
	enough = 1 << 28
	// few is the bound below which two requests at once fill the link.
	few = 256 << 10
)

// Sizer bounds the bytes of a destination's requests. Its zero value is no bound.
type Sizer struct {
	most     int
	starting bool // no request has shown yet that the link is slow
}

// New makes a Sizer. If the requests use a link, whose speed is not known yet, the first one is small.
func New(link bool) Sizer {
	if !link {
		return Sizer{}
	}
	return Sizer{most: start, starting: true}
}

// Lower returns the bytes that a request may have where it may have most at any rate. It removes a bound of most or above.
func (z *Sizer) Lower(most int) int {
	if z.most >= most {
		*z = Sizer{}
	}
	if z.most > 0 {
		return z.most
	}
	return most
}

// InFlight returns the number of requests at once, of at most n. More would only delay each other on a slow link.
func (z *Sizer) InFlight(n int) int {
	switch {
	case z.most == 0:
		return n
	case z.most <= efficient || z.starting && z.most <= start:
		return 1
	case z.most <= few:
		return min(2, n)
	}
	return n
}

// Stored notes that a request of so many bytes was stored, and that it took so long to be sent; 0: unknown, or less than a
// second.
func (z *Sizer) Stored(size int, took time.Duration) {
	matters := 2*size >= z.most // the bound does
	switch {
	case took > target*3/2:
		z.slow(aim(size, took))
	case z.most == 0:
	case took < moment && (matters || z.starting):
		z.most = 4 * min(z.most, enough)
	case matters:
		z.slow(min(aim(size, took), 4*min(z.most, enough)))
	}
}

// Failed notes that a request of so many bytes failed, after sent bytes of it had arrived, which took so long; took is 0
// where that is unknown. timedOut means that there was no response in time.
func (z *Sizer) Failed(size, sent int, took time.Duration, timedOut bool) {
	switch {
	case took > target*3/2 || took >= moment && sent < size-size/8:
		z.slow(min(aim(max(sent, 1), took), max(size/2, 1)))
	case took == 0 && timedOut:
		z.slow(max(size/2, 1))
	}
}

// Interrupted notes that requests fail: the next one is small.
func (z *Sizer) Interrupted() {
	switch {
	case z.most == 0:
		*z = Sizer{most: start, starting: true}
	case z.most > start:
		z.most = start
	}
}

// slow sets the bound that a request has shown.
func (z *Sizer) slow(most int) { *z = Sizer{most: most} }

// aim returns the bytes to aim for on a link that takes so many bytes in that time.
func aim(bytes int, in time.Duration) int {
	rate := float64(bytes) / in.Seconds()
	n := rate * target.Seconds()
	if n < efficient {
		n = min(efficient, rate*slowest.Seconds())
	}
	return max(int(n), 1)
}

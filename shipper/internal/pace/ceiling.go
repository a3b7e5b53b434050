package pace

import "time"

// ceilingAgain is the time after which a rejected size is tried again.
const ceilingAgain = 10 * time.Minute

// Ceiling keeps requests below a size that some hop on the way to the service rejected. Its zero value is no bound.
type Ceiling struct {
	most     int       // bytes of a request at most; 0: no bound
	rejected int       // the smallest rejected size; 0: none, or long ago
	at       time.Time // of the last rejection
}

// Reject records that a request of n bytes was too large. divisible means that the request had several events.
func (c *Ceiling) Reject(n int, divisible bool, now time.Time) {
	if c.rejected == 0 || n < c.rejected {
		c.rejected = n
	}
	if c.at = now; divisible {
		c.most = max(n/2, 1)
	}
}

// Pass records that a request of n bytes was not too large. The bound doubles with each request that needs it, up to a
// rejected size, unless that was long ago or a larger request has passed since.
func (c *Ceiling) Pass(n int, now time.Time) {
	if n >= c.rejected || now.Sub(c.at) >= ceilingAgain {
		c.rejected = 0
	}
	if c.most > 0 && 2*n >= c.most && (c.rejected == 0 || 2*c.most < c.rejected) {
		c.most *= 2
	}
}

// Lower returns the number of bytes that a batch may have where the service takes most. It removes a bound of most or
// above.
func (c *Ceiling) Lower(most int) int {
	if c.most >= most {
		c.most = 0
	}
	if c.most > 0 {
		return c.most
	}
	return most
}

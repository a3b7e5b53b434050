package shipper

import "time"

// ceilingAgain is after how long a size that was too large is tried again.
const ceilingAgain = 10 * time.Minute

// ceiling keeps requests below a size for which something on the way to the service was too small. Its zero value
// bounds nothing.
type ceiling struct {
	most    int       // bytes of a request at most; 0: no bound
	refused int       // the smallest that was refused; 0: forgotten
	at      time.Time // when
}

// refuse notes that a request of n bytes was too large. divisible reports whether the request held several events.
func (c *ceiling) refuse(n int, divisible bool, now time.Time) {
	if c.refused == 0 || n < c.refused {
		c.refused = n
	}
	if c.at = now; divisible {
		c.most = max(n/2, 1)
	}
}

// pass notes that a request of n bytes was not too large. The bound doubles with each that needs it, up to a size
// that was refused, unless that was long ago or a larger request has passed since.
func (c *ceiling) pass(n int, now time.Time) {
	if n >= c.refused || now.Sub(c.at) >= ceilingAgain {
		c.refused = 0
	}
	if c.most > 0 && 2*n >= c.most && (c.refused == 0 || 2*c.most < c.refused) {
		c.most *= 2
	}
}

// lower keeps shape's batches below the ceiling.
func (c *ceiling) lower(shape *Shape) {
	if c.most >= shape.MaxBatch {
		c.most = 0
	}
	if c.most > 0 {
		shape.MaxBatch = c.most
		shape.AimBatch = min(aimBatch(shape), shape.MaxBatch)
	}
}

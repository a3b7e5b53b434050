package capacity

import (
	"os"
	"sync/atomic"
)

// Carry is the part of the state that the newest segment lacks. The next commits carry it over from the segment before.
type Carry struct{ left atomic.Int64 }

// Set records the bytes that are left.
func (c *Carry) Set(bytes int64) { c.left.Store(bytes) }

// Bytes returns the most bytes that the missing part takes of the newest segment.
func (c *Carry) Bytes() int64 {
	bytes := c.left.Load()
	if bytes == 0 {
		return 0
	}
	return bytes + bytes/16 + int64(16*os.Getpagesize())
}

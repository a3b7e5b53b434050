package disk

import "math"

// MapAhead returns the size at which bbolt maps a file of size bytes that may grow by ahead.
func MapAhead(size, ahead int64) int {
	want := size + ahead
	for bits := 15; bits <= 30; bits++ {
		if want <= 1<<bits {
			return 1 << bits
		}
	}
	const step = 1 << 30
	return int(min((want+step-1)/step*step, math.MaxInt))
}

// CopyAhead is the number of bytes by which the estimated size of a copy may be too low.
const CopyAhead = 1 << 20

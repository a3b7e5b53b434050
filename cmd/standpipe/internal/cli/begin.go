package cli

import (
	"fmt"
	"strconv"
	"time"
)

// Position is a place in a stream as a flag has it. At most one field is set; none: now.
type Position struct {
	Oldest bool
	Offset uint64
	Time   time.Time
}

// ParsePosition returns the position of a flag's value: now, oldest, an offset, a time, or a duration back from now.
func ParsePosition(flag, value string, now time.Time) (p Position, err error) {
	offset, notNumber := strconv.ParseUint(value, 10, 64)
	at, notTime := time.Parse(time.RFC3339Nano, value)
	back, notDuration := time.ParseDuration(value)
	switch {
	case value == "now":
	case value == "oldest":
		p.Oldest = true
	case notNumber == nil && offset > 0:
		p.Offset = offset
	case notTime == nil:
		p.Time = at
	case notDuration == nil && back > 0:
		p.Time = now.Add(-back)
	default:
		return p, fmt.Errorf("--%s %q is none of now, oldest, an offset from 1 on, a time like 2026-11-29T10:00:00Z, and a duration like 10m", flag, value)
	}
	return p, nil
}

package intake

import (
	"strings"
	"time"

	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
)

// The range of times in nanoseconds since 1970.
var (
	earliest = time.Unix(0, -1<<63)
	latest   = time.Unix(0, 1<<63-1)
)

// ParseTime parses a time in the format of RFC 3339. Unlike time.Parse it accepts a lower-case t and z, and no comma.
func ParseTime(name, s string) (int64, *Rejection) {
	at, err := time.Parse(time.RFC3339Nano, strings.ToUpper(s))
	if err != nil || strings.Contains(s, ",") {
		return 0, Invalid("%s of %d characters is not as RFC 3339 writes it, such as 2006-01-02T15:04:05.999Z", name, len(s))
	}
	if at.Before(earliest) || at.After(latest) {
		return 0, Invalid("%s in the year %d is outside of %s to %s", name, at.Year(),
			earliest.UTC().Format(time.DateOnly), latest.UTC().Format(time.DateOnly))
	}
	return at.UnixNano(), nil
}

// ParseAck parses the name of an ack level.
func ParseAck(s string) (standpipev1.Ack, *Rejection) {
	switch s {
	case "accepted":
		return standpipev1.Ack_ACK_ACCEPTED, nil
	case "durable":
		return standpipev1.Ack_ACK_DURABLE, nil
	case "delivered":
		return standpipev1.Ack_ACK_DELIVERED, nil
	}
	return 0, Invalid(`ack %s is unknown; "accepted", "durable" and "delivered" are allowed`, QuoteName(s))
}

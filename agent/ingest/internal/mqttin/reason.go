package mqttin

import (
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/standpipe/standpipe/agent/ingest/internal/intake"
)

// reason returns the reason code of a rejected publish. ends reports whether the client is to be disconnected with it instead
// of acknowledging the publish negatively: always where the client may send the publish again.
func reason(r *intake.Rejection, version byte) (code packets.Code, ends bool) {
	ends = version < 5 // where an acknowledgement can't be negative
	switch r.Reason {
	case intake.ReasonFull, intake.ReasonStateFull, intake.ReasonTooManyStreams, intake.ReasonTooLarge, intake.ReasonRate:
		code = packets.ErrQuotaExceeded
	case intake.ReasonFormat:
		code = packets.ErrPayloadFormatInvalid
	case intake.ReasonForbidden:
		code = packets.ErrNotAuthorized
	case intake.ReasonNoStream:
		code = packets.ErrTopicNameInvalid
	case intake.ReasonUnauthenticated:
		code, ends = packets.ErrNotAuthorized, true
	case intake.ReasonInvalid:
		code = packets.ErrImplementationSpecificError
	default:
		code, ends = packets.ErrServerBusy, true
	}
	return packets.Code{Code: code.Code, Reason: r.Text}, ends
}

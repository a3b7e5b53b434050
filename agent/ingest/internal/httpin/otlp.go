package httpin

import (
	"bytes"
	"encoding/json"
	"net/http"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/standpipe/standpipe/agent/ingest/internal/intake"
	"github.com/standpipe/standpipe/agent/ingest/internal/otlp"
)

// otlpEncoding is an encoding of OTLP over HTTP. A response has the encoding of its request.
type otlpEncoding struct {
	mediaType string
	decode    func(*otlp.Logs) otlp.Decoder
	answer    func(*intake.Submission) []byte
	marshal   func(proto.Message) ([]byte, error)
}

var otlpEncodings = map[string]*otlpEncoding{
	"application/x-protobuf": {
		"application/x-protobuf", func(l *otlp.Logs) otlp.Decoder { return l.Decode }, otlp.Response, proto.Marshal,
	},
	"application/json": {
		"application/json", func(l *otlp.Logs) otlp.Decoder { return l.DecodeJSON }, otlp.ResponseJSON, marshalJSON,
	},
}

// marshalJSON removes the white space of protojson, which differs from run to run.
func marshalJSON(m proto.Message) ([]byte, error) {
	loose, err := protojson.Marshal(m)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = json.Compact(&b, loose)
	return b.Bytes(), err
}

// otherSignals are the paths of OTLP for the signals that are not supported.
var otherSignals = map[string]string{
	"/v1/metrics": "metrics", "/v1/traces": "traces", "/v1development/profiles": "profiles",
}

func notTaken(signal string) *intake.Rejection {
	r := intake.Invalid("OTLP %s are not taken here; logs are, at POST %s", signal, logsPath)
	r.Status = http.StatusNotFound
	return r
}

// export takes POST /v1/logs, which is OTLP over HTTP.
func (w *Listener) export(out http.ResponseWriter, r *http.Request) *intake.Rejection {
	kind := mediaType(r.Header)
	e := otlpEncodings[kind]
	if e == nil {
		refused := intake.Invalid("Content-Type %s is not taken here; application/x-protobuf and application/json are", intake.QuoteName(kind))
		refused.Status = http.StatusUnsupportedMediaType
		return w.count(refused)
	}
	b, refused := w.posts.receive(r)
	if refused != nil {
		return e.refuse(out, w.count(refused))
	}
	defer b.free()
	defer arrived(w.in, r).EndRequest()
	t, refused := w.otlp.Export(r.Context(), b.bytes, e.decode(w.otlp))
	if refused != nil {
		return e.refuse(out, refused)
	}
	out.Header().Set("Content-Type", e.mediaType)
	out.Write(e.answer(t))
	return nil
}

// refuse writes the rejection as a google.rpc.Status, as OTLP requires.
func (e *otlpEncoding) refuse(out http.ResponseWriter, r *intake.Rejection) *intake.Rejection {
	encoded, err := e.marshal(r.GRPCStatus().Proto())
	if err != nil {
		return r
	}
	out.Header().Set("Content-Type", e.mediaType)
	setRetryAfter(out, r.RetryAfter())
	out.WriteHeader(statusOf(r))
	out.Write(encoded)
	return nil
}

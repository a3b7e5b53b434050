package ingest

import (
	"net/http"
	"strings"

	"google.golang.org/protobuf/proto"
)

const protobufType = "application/x-protobuf"

// export takes POST /v1/logs, which is OTLP over HTTP in its binary encoding.
func (w *httpWire) export(out http.ResponseWriter, r *http.Request) *refusal {
	if kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); kind != protobufType {
		refused := invalid("Content-Type %s is not taken here; %s is", quoteName(kind), protobufType)
		refused.status = http.StatusUnsupportedMediaType
		return w.count(refused)
	}
	b, refused := w.posts.receive(r)
	if refused != nil {
		return refuseExport(out, w.count(refused))
	}
	defer b.free()
	defer w.in.arrived(r).rest()
	answer, refused := w.otlp.export(r.Context(), b.bytes)
	if refused != nil {
		return refuseExport(out, refused)
	}
	out.Header().Set("Content-Type", protobufType)
	out.Write(answer)
	return nil
}

// refuseExport writes a google.rpc.Status, as OTLP asks for.
func refuseExport(out http.ResponseWriter, r *refusal) *refusal {
	encoded, err := proto.Marshal(r.GRPCStatus().Proto())
	if err != nil {
		return r
	}
	out.Header().Set("Content-Type", protobufType)
	setRetryAfter(out, r.wait())
	out.WriteHeader(r.httpStatus())
	out.Write(encoded)
	return nil
}

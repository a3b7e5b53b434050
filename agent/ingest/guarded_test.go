package ingest_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/standpipe/standpipe/agent/ingest"
	"github.com/standpipe/standpipe/agent/internal/access"
	"github.com/standpipe/standpipe/agent/internal/access/accesstest"
	standpipev1 "github.com/standpipe/standpipe/proto/standpipe/v1"
	"github.com/standpipe/standpipe/test/ingestkit"
)

// shows are the credentials that a caller may present to a listener with auth, and the code for an event for the stream
// "bytes".
var shows = []struct {
	name, authorization string
	streams             []string // of the identity that this process has; nil: it has none
	want                codes.Code
}{
	{"nothing", "", nil, codes.Unauthenticated},
	{"a wrong token", "Bearer wrong", nil, codes.Unauthenticated},
	{"a wrong token of an identity that may", "Bearer wrong", []string{"*"}, codes.Unauthenticated},
	{"another scheme", "Digest s3cret", nil, codes.Unauthenticated},
	{"an identity without that stream", "", []string{"text", "json"}, codes.PermissionDenied},
	{"an identity with that stream", "", []string{"b*"}, codes.OK},
	{"the token", "Bearer master", nil, codes.OK},
}

// guardOf knows the token "master", and this process if it is to have an identity.
func guardOf(t *testing.T, streams []string) *access.Guard {
	t.Helper()
	i := access.Identity{Name: "none", UIDs: []int64{1 << 30}}
	if streams != nil {
		g, _ := accesstest.Own(t, access.Identity{Streams: streams})
		return g
	}
	r := access.NewRegister(nil)
	if err := r.Set([]access.Identity{i}); err != nil {
		t.Fatal(err)
	}
	return accesstest.NewGuard(t, r, accesstest.WriteToken(t, "master"))
}

// TestEveryWayIn_AsksWhoComes tries each of a listener's ways in, with each kind of credentials.
func TestEveryWayIn_AsksWhoComes(t *testing.T) {
	encoded, err := proto.Marshal(ingestkit.Exported())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range shows {
		log := ingestkit.NewLog(t)
		o := ingest.Options{
			Log: log, Guard: guardOf(t, s.streams), OTLP: &ingest.OTLPOptions{Stream: "bytes"},
			HTTP: ingest.HTTPOptions{Pixels: []ingest.Pixel{{Path: "/p.gif", Stream: "bytes", Key: "k"}}},
		}
		stored := 0
		check := func(way string, got codes.Code) {
			t.Helper()
			now := len(log.Stored())
			if got != s.want || (now > stored) != (s.want == codes.OK) {
				t.Errorf("%s by %s: got %v and %d events more, want %v", s.name, way, got, now-stored, s.want)
			}
			stored = now
		}

		o.Type = ingest.GRPC
		conn := ingestkit.Dial(t, ingestkit.Serve(t, o).Addr())
		ctx := t.Context()
		if s.authorization != "" {
			ctx = metadata.AppendToOutgoingContext(ctx, "authorization", s.authorization)
		}
		client := standpipev1.NewIngestClient(conn)
		_, err := client.Append(ctx, ingestkit.Request("bytes", "a"))
		check("Append", status.Code(err))
		stream, err := client.AppendStream(ctx)
		if err == nil {
			stream.Send(ingestkit.Request("bytes", "a"))
			_, err = stream.Recv()
		}
		check("AppendStream", status.Code(err))
		check("OTLP over gRPC", status.Code(conn.Invoke(ctx, ingestkit.Export, ingestkit.Exported(), &emptypb.Empty{})))
		check("OTLP over gRPC, packed", status.Code(conn.Invoke(ctx, ingestkit.Export, ingestkit.Exported(), &emptypb.Empty{}, grpc.UseCompressor("gzip"))))

		w := ingestkit.ServeHTTP(t, o)
		header := "Authorization: " + s.authorization
		code := map[int]codes.Code{200: codes.OK, 204: codes.OK, 401: codes.Unauthenticated, 403: codes.PermissionDenied}
		check("POST", code[w.Post("bytes?key=k", "a", header).Status])
		check("a beacon", code[w.Post("bytes?key=k", "a", header, "Content-Type: text/plain;charset=UTF-8", "Sec-Fetch-Mode: no-cors").Status])
		check("a pixel", code[w.Do("GET", "/p.gif?k=k", "", header).Status])
		check("OTLP over HTTP", code[w.Do("POST", "/v1/logs", string(encoded), header, "Content-Type: application/x-protobuf").Status])
		check("OTLP over HTTP in JSON", code[w.Do("POST", "/v1/logs", `{"resourceLogs":[{"scopeLogs":[{"logRecords":[{}]}]}]}`, header, ingestkit.JSON).Status])

		_, socket := ingestkit.ServeSocket(t, o)
		lines := `{"stream":"bytes","key":"k","data":1}` + "\n"
		if token, ok := strings.CutPrefix(s.authorization, "Bearer "); ok {
			lines = fmt.Sprintf(`{"token":%q}`+"\n", token) + lines // in one write: a wrong token ends the connection
		}
		socket.Send(lines)
		reply := socket.Response()
		got := codes.OK
		for name, code := range map[string]codes.Code{"UNAUTHENTICATED": codes.Unauthenticated, "PERMISSION_DENIED": codes.PermissionDenied} {
			if strings.Contains(reply, name) {
				got = code
			}
		}
		check("a socket", got)
	}
}

// Reflection lists the services, and so requires credentials; health does not.
func TestEveryWayIn_OfGRPCsOwn(t *testing.T) {
	o := ingest.Options{Type: ingest.GRPC, Log: ingestkit.NewLog(t), Guard: guardOf(t, nil)}
	conn := ingestkit.Dial(t, ingestkit.Serve(t, o).Addr())
	for authorization, want := range map[string]codes.Code{"Bearer wrong": codes.Unauthenticated, "Bearer master": codes.OK} {
		ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", authorization)
		s, err := grpc_reflection_v1.NewServerReflectionClient(conn).ServerReflectionInfo(ctx)
		if err == nil {
			s.Send(&grpc_reflection_v1.ServerReflectionRequest{MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_ListServices{}})
			_, err = s.Recv()
		}
		if status.Code(err) != want {
			t.Errorf("reflection with %q: got %v, want %v", authorization, err, want)
		}
		if _, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{}); err != nil {
			t.Errorf("health with %q: %v", authorization, err)
		}
	}
	for _, method := range []string{"/grpc.health.v1.HealthX/Check", "/nothing.Here/Is"} {
		if err := conn.Invoke(t.Context(), method, &emptypb.Empty{}, &emptypb.Empty{}); status.Code(err) != codes.Unauthenticated {
			t.Errorf("%s: got %v, want UNAUTHENTICATED", method, err)
		}
	}
	w := ingestkit.ServeHTTP(t, o)
	for _, path := range []string{"/v1/logs", "/p.gif", "/v1/streams/bytes"} {
		if got := w.Do("POST", path, ""); got.Status == http.StatusOK {
			t.Errorf("%s: got %d", path, got.Status)
		}
	}
}

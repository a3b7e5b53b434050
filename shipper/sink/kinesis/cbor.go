package kinesis

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/encoding/cbor"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/aws/smithy-go/transport/http/protocol/rpcv2"

	"github.com/standpipe/standpipe/shipper/sink/internal/awsclient"
)

// contentCBOR is the content type of Kinesis's CBOR: the members of the JSON protocol under the same names, with payloads
// as they are instead of in base64. Amazon's SDK for Java has used it since 2016.
const contentCBOR = "application/x-amz-cbor-1.1"

// cborProtocol is the SDK's JSON protocol with PutRecords in CBOR, and with responses in either.
type cborProtocol struct {
	smithyhttp.ClientProtocol // JSON's
	decoder                   *rpcv2.Protocol
	format                    *format // notes the format of the responses
}

// SerializeRequest makes the SDK's protocol build the request without its records, and replaces the body.
func (p cborProtocol) SerializeRequest(ctx context.Context, op *smithy.OperationSchema, in smithy.Serializable, req *smithyhttp.Request) error {
	put, ok := in.(*kinesis.PutRecordsInput)
	if !ok {
		return fmt.Errorf("encode %T in cbor: not supported", in)
	}
	if err := p.ClientProtocol.SerializeRequest(ctx, op, &kinesis.PutRecordsInput{}, req); err != nil {
		return err
	}
	whole, err := req.SetStream(putRecordsCBOR(put))
	if err != nil {
		return fmt.Errorf("set body: %w", err)
	}
	*req = *whole
	req.Header.Set("Content-Type", contentCBOR)
	return nil
}

// Body returns the body of a PutRecords request.
func (cborProtocol) Body(in smithy.Serializable) (body awsclient.Body, contentType string) {
	put, ok := in.(*kinesis.PutRecordsInput)
	if !ok {
		return nil, ""
	}
	return putRecordsCBOR(put), contentCBOR
}

// DeserializeResponse decodes a response by its content type. An error in CBOR is decoded as the same error in JSON, so
// both have the same code and text.
func (p cborProtocol) DeserializeResponse(ctx context.Context, op *smithy.OperationSchema, types *smithy.TypeRegistry, resp *smithyhttp.Response, out smithy.Deserializable) error {
	if !inCBOR(resp) {
		p.format.answeredOtherwise()
		return p.ClientProtocol.DeserializeResponse(ctx, op, types, resp, out)
	}
	p.format.answered()
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		err := p.decoder.DeserializeResponse(ctx, op, types, resp, out)
		if err != nil {
			p.format.broken()
		}
		return err
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("read error: %w", err)
	}
	resp.Body = io.NopCloser(bytes.NewReader(errorAsJSON(body)))
	return p.ClientProtocol.DeserializeResponse(ctx, op, types, resp, out)
}

func inCBOR(resp *smithyhttp.Response) bool {
	return resp != nil && resp.Response != nil && resp.Header.Get("Content-Type") == contentCBOR
}

// errorAsJSON returns the text members of an error in CBOR as JSON. A body that is no map is returned as it is: JSON's
// decoder rejects it too.
func errorAsJSON(body []byte) []byte {
	if len(body) == 0 {
		return body
	}
	value, err := cbor.Decode(body)
	members, ok := value.(cbor.Map)
	if err != nil || !ok {
		return body
	}
	texts := make(map[string]string)
	for name, member := range members {
		if text, ok := member.(cbor.String); ok {
			texts[name] = string(text)
		}
	}
	encoded, _ := json.Marshal(texts) // a map of strings has no error
	return encoded
}

// Major types of CBOR: RFC 8949, section 3.1.
const (
	cborBytes = 2 << 5
	cborText  = 3 << 5
	cborArray = 4 << 5
	cborMap   = 5 << 5
)

// aroundCBOR is an upper bound of the bytes of a body beside its records, and of a record beside its payload and key.
const aroundCBOR = 96

func putRecordsCBOR(in *kinesis.PutRecordsInput) *pieces {
	size := aroundCBOR + awsclient.Length(in.StreamName) + awsclient.Length(in.StreamARN)
	for i := range in.Records {
		size += aroundCBOR + awsclient.Length(in.Records[i].PartitionKey) + awsclient.Length(in.Records[i].ExplicitHashKey)
	}
	b := newPieces(size, len(in.Records))
	b.head(cborMap, count(in.StreamName, in.StreamARN)+1)
	b.member("StreamName", in.StreamName)
	b.member("StreamARN", in.StreamARN)
	b.text("Records")
	b.head(cborArray, len(in.Records))
	for i := range in.Records {
		r := &in.Records[i]
		b.head(cborMap, count(r.PartitionKey, r.ExplicitHashKey)+1)
		b.member("PartitionKey", r.PartitionKey)
		b.member("ExplicitHashKey", r.ExplicitHashKey)
		b.data(r.Data)
	}
	return b.end()
}

// count returns the number of members that a request has.
func count(members ...*string) (n int) {
	for _, m := range members {
		if m != nil {
			n++
		}
	}
	return n
}

// pieces is a request's body. It refers to the payloads instead of copying them: a body of 5 MiB takes a few KiB.
// net/http may still read a body whose response has arrived, so nothing may change a payload after it was sent.
type pieces struct {
	parts [][]byte
	size  int // of all parts

	heads []byte // everything but payloads; parts have slices of it
	begun int    // the first byte of heads that is in no part yet

	part, at int // position: the part that is read, and the offset in it
	read     int
}

// newPieces returns an empty body whose heads take at most size bytes, with that many payloads.
func newPieces(size, payloads int) *pieces {
	return &pieces{heads: make([]byte, 0, size), parts: make([][]byte, 0, 2*payloads+1)}
}

// head appends the head of an item: its major type, and its length or number of members.
func (b *pieces) head(major byte, n int) {
	switch {
	case n < 24:
		b.heads = append(b.heads, major|byte(n))
	case n < 1<<8:
		b.heads = append(b.heads, major|24, byte(n))
	case n < 1<<16:
		b.heads = binary.BigEndian.AppendUint16(append(b.heads, major|25), uint16(n))
	default:
		b.heads = binary.BigEndian.AppendUint32(append(b.heads, major|26), uint32(n))
	}
}

func (b *pieces) text(s string) {
	b.head(cborText, len(s))
	b.heads = append(b.heads, s...)
}

// member appends a member of a map, or nothing if value is nil.
func (b *pieces) member(name string, value *string) {
	if value != nil {
		b.text(name)
		b.text(*value)
	}
}

// data appends the payload as a member of a map.
func (b *pieces) data(payload []byte) {
	b.text("Data")
	b.head(cborBytes, len(payload))
	b.cut()
	b.add(payload)
}

// cut ends a part of heads.
func (b *pieces) cut() {
	b.add(b.heads[b.begun:len(b.heads):len(b.heads)])
	b.begun = len(b.heads)
}

func (b *pieces) add(part []byte) {
	if len(part) > 0 {
		b.parts = append(b.parts, part)
		b.size += len(part)
	}
}

func (b *pieces) end() *pieces {
	b.cut()
	return b
}

// Len returns the number of bytes that are left to read.
func (b *pieces) Len() int { return b.size - b.read }

// Read reads on from the position.
func (b *pieces) Read(p []byte) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	for b.part < len(b.parts) && n < len(p) {
		from := b.parts[b.part]
		copied := copy(p[n:], from[b.at:])
		n += copied
		if b.at += copied; b.at == len(from) {
			b.part, b.at = b.part+1, 0
		}
	}
	b.read += n
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// WriteTo writes everything from the position on, for the hash of the signature: without another copy.
func (b *pieces) WriteTo(w io.Writer) (total int64, err error) {
	for b.part < len(b.parts) {
		n, err := w.Write(b.parts[b.part][b.at:])
		total += int64(n)
		b.read += n
		if err != nil {
			b.at += n
			return total, err
		}
		b.part, b.at = b.part+1, 0
	}
	return total, nil
}

// Seek moves the position to the beginning or the end, or leaves it: a request needs no other.
func (b *pieces) Seek(offset int64, whence int) (int64, error) {
	switch {
	case offset == 0 && whence == io.SeekStart:
		b.part, b.at, b.read = 0, 0, 0
	case offset == 0 && whence == io.SeekEnd:
		b.part, b.at, b.read = len(b.parts), 0, b.size
	case offset != 0 || whence != io.SeekCurrent:
		return 0, errors.New("seek body: neither to its beginning nor to its end")
	}
	return int64(b.read), nil
}

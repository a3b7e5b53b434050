package kinesis

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go/encoding/cbor"
)

func FuzzCBOR_HoldsTheRequest(f *testing.F) {
	f.Add("clicks", "key", "0", []byte("payload"), 3, 7)
	f.Add("", "quote \" slash \\ tab \t del \x7f Ä \u2028", "", []byte{}, 1, 1)
	f.Add("s", strings.Repeat("€", 256), "340282366920938463463374607431768211455", []byte{0, 255}, 0, 4096)
	f.Add("s", "k", "1", bytes.Repeat([]byte("x"), 1<<16), 30, 32<<10)
	f.Fuzz(func(t *testing.T, stream, key, hash string, data []byte, records, step int) {
		records, step = min(max(records, 0), 500), max(step, 1)
		in := &kinesis.PutRecordsInput{StreamName: &stream}
		want := cbor.List{}
		for i := range records {
			entry := types.PutRecordsRequestEntry{PartitionKey: &key, Data: data}
			member := cbor.Map{"PartitionKey": cbor.String(key), "Data": cbor.Slice(data)}
			if i%2 == 1 {
				entry.ExplicitHashKey, member["ExplicitHashKey"] = &hash, cbor.String(hash)
			}
			in.Records = append(in.Records, entry)
			want = append(want, member)
		}
		checkCBOR(t, readBy(t, putRecordsCBOR(in), step), cbor.Map{"StreamName": cbor.String(stream), "Records": want})
	})
}

// readBy reads a body twice, as a request does: whole for its signature, then in steps of so many bytes.
func readBy(t *testing.T, body *pieces, step int) []byte {
	t.Helper()
	length := body.Len()
	var signed bytes.Buffer
	if n, err := body.WriteTo(&signed); n != int64(length) || signed.Len() != length || err != nil || body.Len() != 0 {
		t.Fatalf("got %d of %d bytes written, %v, %d left", n, length, err, body.Len())
	}
	if at, err := body.Seek(0, io.SeekStart); at != 0 || err != nil {
		t.Fatalf("got position %d at the beginning, %v", at, err)
	}
	var sent []byte
	buf := make([]byte, step)
	for {
		n, err := body.Read(buf)
		sent = append(sent, buf[:n]...)
		if at, _ := body.Seek(0, io.SeekCurrent); at != int64(len(sent)) || body.Len() != length-len(sent) {
			t.Fatalf("got position %d, %d bytes left, want %d and %d", at, body.Len(), len(sent), length-len(sent))
		}
		if err != nil {
			break
		}
	}
	if !bytes.Equal(sent, signed.Bytes()) {
		t.Fatalf("got %d bytes sent, other than the %d signed ones", len(sent), signed.Len())
	}
	return sent
}

// checkCBOR decodes a body with the SDK's decoder of another protocol.
func checkCBOR(t *testing.T, body []byte, want cbor.Map) {
	t.Helper()
	got, err := cbor.Decode(body)
	if err != nil {
		t.Fatalf("decode body: %v", err)
	}
	if !sameValue(got, want) {
		t.Errorf("got body %+v, want %+v", got, want)
	}
	if n := len(cbor.Encode(want)); n != len(body) {
		t.Errorf("got %d bytes, want %d", len(body), n)
	}
}

func sameValue(a, b cbor.Value) bool {
	switch a := a.(type) {
	case cbor.Map:
		other, ok := b.(cbor.Map)
		if !ok || len(a) != len(other) {
			return false
		}
		for name, v := range a {
			if w, ok := other[name]; !ok || !sameValue(v, w) {
				return false
			}
		}
		return true
	case cbor.List:
		other, ok := b.(cbor.List)
		if !ok || len(a) != len(other) {
			return false
		}
		for i, v := range a {
			if !sameValue(v, other[i]) {
				return false
			}
		}
		return true
	}
	return bytes.Equal(cbor.Encode(a), cbor.Encode(b))
}

func TestCBOR_PayloadsAreNotCopied(t *testing.T) {
	key, stream, data := "key", "stream", make([]byte, 10_000)
	in := &kinesis.PutRecordsInput{StreamName: &stream}
	for range 500 {
		in.Records = append(in.Records, types.PutRecordsRequestEntry{PartitionKey: &key, Data: data})
	}
	body := putRecordsCBOR(in)
	if got, most := cap(body.heads), 500*128; got > most {
		t.Errorf("got %d bytes beside 500 payloads, want at most %d", got, most)
	}
	got := testing.AllocsPerRun(10, func() { putRecordsCBOR(in) })
	if want := 3.0; got != want {
		t.Errorf("got %v allocations for a body, want %v", got, want)
	}
	if _, err := body.Seek(1, io.SeekStart); err == nil {
		t.Error("got no error of a position that no request needs")
	}
}

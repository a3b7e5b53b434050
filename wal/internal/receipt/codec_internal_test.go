package receipt

import (
	"bytes"
	"testing"
)

// FuzzReceipt: an entry of any content is decoded or rejected, and a decoded one is written as it was.
func FuzzReceipt(f *testing.F) {
	f.Add("owner", "7", (&entry{Receipt: Receipt{Sum: 1, Stream: "stream", First: 3}, number: 2}).encode())
	f.Add("\x00dev", "18446744073709551615", make([]byte, valueLength+1))
	f.Add("owner", "7", make([]byte, valueLength)) // no stream
	f.Add("owner", "7", make([]byte, oldLength))
	f.Add("", "7", make([]byte, valueLength+1))
	f.Add("owner", "-1", make([]byte, valueLength+1))
	f.Fuzz(func(t *testing.T, owner, id string, value []byte) {
		var e entry
		if err := e.decode(owner, id, value); err != nil {
			return
		}
		if got := e.encode(); !bytes.Equal(got, value) || e.Owner != owner {
			t.Errorf("got %x of %q, want %x of %q", got, e.Owner, value, owner)
		}
	})
}

func TestEntry_IsDecodedAsItWasWritten(t *testing.T) {
	for _, want := range []entry{
		{Receipt: Receipt{Owner: "owner", ID: 7, Sum: 1 << 63, Stream: "stream", First: 3}, number: 2},
		{Receipt: Receipt{Owner: "owner", ID: 7, Sum: 1 << 63}, number: 2}, // of an older log
	} {
		var got entry
		if err := got.decode("owner", idText(7), want.encode()); err != nil || got != want {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	}
	for _, value := range [][]byte{nil, make([]byte, oldLength-1), make([]byte, valueLength-1), make([]byte, valueLength)} {
		if err := Check("owner", "7", value); err == nil {
			t.Errorf("a value of %d bytes is accepted", len(value))
		}
	}
}

package deadletter

import (
	"bytes"
	"encoding/binary"
	"reflect"
	"testing"
	"time"

	"github.com/standpipe/standpipe/wal/internal/segment"
)

func soundLetter() Letter {
	return Letter{
		Stream: "s", Destination: "d", Reason: "refused", At: time.Unix(5, 6),
		Event: segment.Event{Key: "k", Data: []byte("data"), Time: -1, Offset: 9, Lane: segment.LaneOf("k"), Attributes: map[string]string{"a": "b"}},
	}
}

func TestLetter_DecodesAsItWasEncoded(t *testing.T) {
	want := soundLetter()
	value := want.append(nil, 7)
	var got Letter
	if err := got.decode(value, 7); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	if err := new(Letter).decode(value, 8); err == nil {
		t.Error("a letter under the ID of another decodes")
	}
	for i := range value {
		broken := bytes.Clone(value)
		broken[i] ^= 0x10
		if new(Letter).decode(broken, 7) == nil || new(Letter).decode(value[:i], 7) == nil {
			t.Errorf("a flipped bit in byte %d, or an end there, is not detected", i)
		}
	}
}

// FuzzLetter can also give invalid content a valid checksum, so that decoding gets past the check of it.
func FuzzLetter(f *testing.F) {
	sound, bare := soundLetter(), Letter{}
	f.Add(uint64(7), sound.append(nil, 7), false)
	f.Add(uint64(0), bare.append(nil, 0), true)
	f.Add(uint64(1), []byte{letterVersion, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f}, true)
	f.Fuzz(func(t *testing.T, id uint64, value []byte, seal bool) {
		value = bytes.Clone(value)
		if seal && len(value) >= letterSumOf {
			value[0] = letterVersion
			binary.BigEndian.PutUint32(value[letterSumAt:], letterSum(value, id))
		}
		var letter Letter
		if letter.decode(value, id) != nil {
			return
		}
		var again Letter
		if err := again.decode(letter.append(nil, id), id); err != nil {
			t.Fatal(err)
		}
		letter.Event.Lane = again.Event.Lane // encoding computes the lane from the key
		if letter.Event.Data == nil {
			letter.Event.Data = again.Event.Data // absent and empty are the same
		}
		if !reflect.DeepEqual(letter, again) {
			t.Errorf("got %+v, want %+v", again, letter)
		}
	})
}

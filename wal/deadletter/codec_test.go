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

// encode returns the value of a letter without parts.
func encode(l Letter, id uint64) []byte { return letterValue(id, l.appendBody(nil), false) }

func decode(l *Letter, value []byte, id uint64) error {
	body, err := letters{}.body(id, value, new([]byte))
	if err != nil {
		return err
	}
	return l.decodeBody(body)
}

func TestLetter_DecodesAsItWasEncoded(t *testing.T) {
	for _, besideParts := range []bool{false, true} {
		want := soundLetter()
		checkDecoding(t, want, letterValue(7, want.appendBody(nil), besideParts))
	}
}

// checkDecoding checks the value of the letter with ID 7.
func checkDecoding(t *testing.T, want Letter, value []byte) {
	t.Helper()
	var got Letter
	if err := decode(&got, value, 7); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	if err := decode(new(Letter), value, 8); err == nil {
		t.Error("a letter under the ID of another decodes")
	}
	for i := range value {
		for bit := range 8 {
			broken := bytes.Clone(value)
			broken[i] ^= 1 << bit
			if decode(new(Letter), broken, 7) == nil {
				t.Errorf("the flipped bit %d of byte %d is not detected", bit, i)
			}
		}
		if decode(new(Letter), value[:i], 7) == nil {
			t.Errorf("an end at byte %d is not detected", i)
		}
	}
}

// FuzzLetter can also give invalid content a valid checksum, so that decoding gets past the check of it.
func FuzzLetter(f *testing.F) {
	sound, bare := soundLetter(), Letter{}
	f.Add(uint64(7), encode(sound, 7), false)
	f.Add(uint64(0), encode(bare, 0), true)
	f.Add(uint64(7), letterValue(7, sound.appendBody(nil), true), false)
	f.Add(uint64(1), []byte{letterVersion, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f}, true)
	f.Fuzz(func(t *testing.T, id uint64, value []byte, seal bool) {
		value = bytes.Clone(value)
		if seal && len(value) >= letterSumOf {
			value[0] = versionWhole + value[0]%2
			binary.BigEndian.PutUint32(value[letterSumAt:], letterSum(value, id))
		}
		var letter Letter
		if decode(&letter, value, id) != nil {
			return
		}
		var again Letter
		if err := again.decodeBody(letter.appendBody(nil)); err != nil {
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

package mqttin

import (
	"bytes"
	"io"
	"testing"
	"testing/iotest"

	"github.com/standpipe/standpipe/agent/ingest/internal/budget"
	"github.com/standpipe/standpipe/agent/internal/topicmap"
)

// FuzzDecodePublish: bytes of any kind are decoded or rejected, and a decoded topic is one that a client may publish to.
func FuzzDecodePublish(f *testing.F) {
	f.Add(byte(4), byte(1), []byte("\x00\x01a\x00\x01x"))
	f.Add(byte(5), byte(0), []byte("\x00\x01a\x00x"))
	f.Add(byte(5), byte(1), []byte("\x00\x01a\x00\x01\x09\x26\x00\x01k\x00\x02vv\x00x"))
	f.Add(byte(5), byte(2), []byte("\x00\x00\x00\x01\x03\x23\x00\x01x"))
	f.Add(byte(5), byte(0), []byte("\x00\x01a\x03\x03\x00\x09xyz"))
	f.Fuzz(func(t *testing.T, version, qos byte, body []byte) {
		c := &client{version: 4 + version%2, id: "dev"}
		for range 2 { // the second time with the alias of the first one
			m := message{qos: qos % 3}
			packetID, err := c.decodePublish(&m, body)
			if err != nil {
				continue
			}
			if !topicmap.ValidTopic(m.topic) || m.qos > 0 && packetID == 0 || !bytes.HasSuffix(body, m.payload) {
				t.Errorf("got topic %q, packet %d and payload %q of %q", m.topic, packetID, m.payload, body)
			}
			if a := c.attributesOf(&m); a["mqtt.topic"] != m.topic {
				t.Errorf("got attributes %v", a)
			}
		}
	})
}

// FuzzPacketReader: the packets are the same however their bytes arrive, and no budget is left held.
func FuzzPacketReader(f *testing.F) {
	f.Add([]byte("\x30\x04\x00\x01ax\xc0\x00\xe0\x00"))
	f.Add([]byte("\x30\x80\x80\x80\x80\x01"))
	f.Add(append([]byte("\x30\xff\x7f"), make([]byte, 16383)...))
	f.Fuzz(func(t *testing.T, input []byte) {
		read := func(from io.Reader) (bodies [][]byte, fault string) {
			b := budget.New(1 << 20)
			r := packetReader{from: from, max: 1 << 16, budget: b}
			for {
				_, body, err := r.next()
				if err != nil {
					r.giveUp()
					if b.Left() != 1<<20 {
						t.Errorf("got %d bytes left of the budget", b.Left())
					}
					return bodies, err.Error()
				}
				bodies = append(bodies, bytes.Clone(body))
			}
		}
		whole, fault := read(bytes.NewReader(input))
		single, faultOfSingle := read(iotest.OneByteReader(bytes.NewReader(input)))
		if len(whole) != len(single) || fault != faultOfSingle || !bytes.Equal(bytes.Join(whole, nil), bytes.Join(single, nil)) {
			t.Errorf("got %d packets and %s, byte by byte %d and %s", len(whole), fault, len(single), faultOfSingle)
		}
	})
}

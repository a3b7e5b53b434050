package mqttin

import (
	"bytes"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// send writes a packet to the client.
func (c *client) send(pk packets.Packet) error {
	b, err := c.encode(nil, &pk)
	if err != nil {
		return err
	}
	return c.write(b)
}

// encode appends an encoded packet to b.
func (c *client) encode(b []byte, pk *packets.Packet) ([]byte, error) {
	pk.ProtocolVersion, pk.Mods = c.version, c.outMods
	buf := bytes.NewBuffer(b)
	var err error
	switch pk.FixedHeader.Type {
	case packets.Connack:
		err = pk.ConnackEncode(buf)
	case packets.Puback:
		err = pk.PubackEncode(buf)
	case packets.Pubrec:
		err = pk.PubrecEncode(buf)
	case packets.Pubcomp:
		err = pk.PubcompEncode(buf)
	case packets.Suback:
		err = pk.SubackEncode(buf)
	case packets.Unsuback:
		err = pk.UnsubackEncode(buf)
	case packets.Pingresp:
		err = pk.PingrespEncode(buf)
	default:
		err = pk.DisconnectEncode(buf)
	}
	return buf.Bytes(), err
}

// write writes encoded packets.
func (c *client) write(b []byte) error {
	c.writes.Lock()
	defer c.writes.Unlock()
	c.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	_, err := c.conn.Write(b)
	return err
}

// Package mqttkit reads the packets that an MQTT server sends. Only tests import it.
package mqttkit

import (
	"bufio"
	"io"

	"github.com/mochi-mqtt/server/v2/packets"
)

// Read reads the next packet of a connection with that protocol version (3, 4 or 5). Packets that a publisher does not get
// have their fixed header alone. The error is that of the connection, or of a malformed packet.
func Read(from *bufio.Reader, version byte) (pk packets.Packet, err error) {
	first, err := from.ReadByte()
	if err != nil {
		return pk, err
	}
	if err := pk.FixedHeader.Decode(first); err != nil {
		return pk, err
	}
	if pk.FixedHeader.Remaining, _, err = packets.DecodeLength(from); err != nil {
		return pk, err
	}
	body := make([]byte, pk.FixedHeader.Remaining)
	if _, err := io.ReadFull(from, body); err != nil {
		return pk, err
	}
	pk.ProtocolVersion = version
	switch pk.FixedHeader.Type {
	case packets.Connack:
		err = pk.ConnackDecode(body)
	case packets.Puback:
		err = pk.PubackDecode(body)
	case packets.Pubrec:
		err = pk.PubrecDecode(body)
	case packets.Pubcomp:
		err = pk.PubcompDecode(body)
	case packets.Suback:
		err = pk.SubackDecode(body)
	case packets.Unsuback:
		err = pk.UnsubackDecode(body)
	case packets.Disconnect:
		err = pk.DisconnectDecode(body)
	}
	return pk, err
}

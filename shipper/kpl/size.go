package kpl

import "google.golang.org/protobuf/encoding/protowire"

// Sizer follows the size of a record while payloads are gathered for it. Its zero value is a
// record under the empty key; NewSizer makes one for any key.
type Sizer struct {
	keyLen   int
	more     int // bytes of the further keys' entries
	payloads int
	message  int  // bytes of the payloads' fields
	lone     int  // length of the first payload
	magic    bool // the first payload begins with Magic
}

// NewSizer returns a Sizer for a record under a key of keyLen bytes.
func NewSizer(keyLen int) Sizer { return Sizer{keyLen: keyLen} }

// AddKey counts one more key, of keyLen bytes, after the first.
func (s *Sizer) AddKey(keyLen int) { s.more += keySize(keyLen) }

// Add counts one more payload of the key at that index of the table, the first being 0.
func (s *Sizer) Add(key int, payload []byte) { s.add(key, len(payload), hasMagic(payload)) }

// AddSize counts one more payload, of n bytes, that does not begin with Magic.
func (s *Sizer) AddSize(key, n int) { s.add(key, n, false) }

func (s *Sizer) add(key, n int, magic bool) {
	if s.payloads == 0 {
		s.lone, s.magic = n, magic
	}
	s.payloads++
	s.message += fieldSize(key, n)
}

// Size returns the length of Append's output for the payloads so far; 0 for none.
func (s *Sizer) Size() int {
	switch {
	case s.payloads == 0:
		return 0
	case s.payloads == 1 && !s.magic:
		return s.lone
	}
	return Overhead + keySize(s.keyLen) + s.more + s.message
}

// keySize returns the bytes that the key table takes in the message.
func keySize(keyLen int) int {
	return protowire.SizeTag(fieldKeyTable) + protowire.SizeBytes(keyLen)
}

// innerSize returns the length of the Record that holds a payload of n bytes of the key at an index.
func innerSize(key, n int) int {
	return protowire.SizeTag(fieldKeyIndex) + protowire.SizeVarint(uint64(key)) +
		protowire.SizeTag(fieldData) + protowire.SizeBytes(n)
}

// fieldSize returns the bytes that a payload of n bytes of the key at an index takes in the message.
func fieldSize(key, n int) int {
	return protowire.SizeTag(fieldRecords) + protowire.SizeBytes(innerSize(key, n))
}

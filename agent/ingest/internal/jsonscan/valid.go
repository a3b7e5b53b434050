package jsonscan

import (
	"encoding/binary"
	"math/bits"
)

// maxNesting is the deepest nesting of objects and arrays, as in encoding/json.
const maxNesting = 10000

// Valid reports whether b is one JSON value. If not, fault is the offset of the first byte that cannot continue a value;
// it is len(b) if b ends too early. It agrees with encoding/json.Valid and is several times as fast.
func Valid(b []byte) (fault int, ok bool) {
	v := validator{b: b}
	v.space()
	for step := wantValue; step != stopped; {
		switch step {
		case wantValue:
			step = v.value()
		case wantMember:
			step = v.member()
		case valueEnded:
			step = v.after()
		}
	}
	return v.i, v.i == len(b) && v.whole
}

// validator walks over b.
type validator struct {
	b     []byte
	i     int
	depth int      // of open objects and arrays
	ends  [64]byte // the closing byte of each of the outermost ones
	inner []byte   // the closing bytes of the others
	whole bool     // the value has ended
}

// validStep is the next step of the walk.
type validStep uint8

const (
	stopped validStep = iota // at the end, or at a fault
	wantValue
	wantMember
	valueEnded
)

func (v *validator) space() {
	if v.i < len(v.b) && v.b[v.i] <= ' ' {
		v.i = SkipSpace(v.b, v.i)
	}
}

// at reports whether c is next.
func (v *validator) at(c byte) bool { return v.i < len(v.b) && v.b[v.i] == c }

func (v *validator) value() validStep {
	if v.i == len(v.b) {
		return stopped
	}
	switch c := v.b[v.i]; c {
	case '{':
		return v.enter('}', wantMember)
	case '[':
		return v.enter(']', wantValue)
	case '"':
		return v.proceed(v.text())
	case 't':
		return v.proceed(v.literal("true"))
	case 'f':
		return v.proceed(v.literal("false"))
	case 'n':
		return v.proceed(v.literal("null"))
	default:
		return v.proceed(v.number())
	}
}

func (v *validator) enter(end byte, inside validStep) validStep {
	switch {
	case v.depth == maxNesting:
		return stopped
	case v.depth < len(v.ends):
		v.ends[v.depth] = end
	default:
		v.inner = append(v.inner[:v.depth-len(v.ends)], end)
	}
	v.depth++
	v.i++
	v.space()
	if v.at(end) {
		return v.leave()
	}
	return inside
}

func (v *validator) leave() validStep {
	v.depth--
	v.i++
	return valueEnded
}

// proceed continues after a complete value.
func (v *validator) proceed(whole bool) validStep {
	if !whole {
		return stopped
	}
	return valueEnded
}

func (v *validator) after() validStep {
	v.space()
	if v.depth == 0 {
		v.whole = true
		return stopped
	}
	end := v.end()
	if v.at(end) {
		return v.leave()
	}
	if !v.at(',') {
		return stopped
	}
	v.i++
	v.space()
	if end == '}' {
		return wantMember
	}
	return wantValue
}

// end returns the closing byte of the innermost object or array.
func (v *validator) end() byte {
	if v.depth <= len(v.ends) {
		return v.ends[v.depth-1]
	}
	return v.inner[v.depth-1-len(v.ends)]
}

func (v *validator) member() validStep {
	if !v.at('"') || !v.text() {
		return stopped
	}
	v.space()
	if !v.at(':') {
		return stopped
	}
	v.i++
	v.space()
	return wantValue
}

func (v *validator) literal(word string) bool {
	for n := range len(word) {
		if !v.at(word[n]) {
			return false
		}
		v.i++
	}
	return true
}

func (v *validator) number() bool {
	if v.at('-') {
		v.i++
	}
	if v.at('0') {
		v.i++
	} else if !v.digits() {
		return false
	}
	if v.at('.') {
		v.i++
		if !v.digits() {
			return false
		}
	}
	if !v.at('e') && !v.at('E') {
		return true
	}
	v.i++
	if v.at('+') || v.at('-') {
		v.i++
	}
	return v.digits()
}

// digits skips one or more digits.
func (v *validator) digits() bool {
	from := v.i
	for v.i < len(v.b) && '0' <= v.b[v.i] && v.b[v.i] <= '9' {
		v.i++
	}
	return v.i > from
}

// text skips the string that begins here.
func (v *validator) text() bool {
	for v.i++; ; v.i++ {
		v.i = plainEnd(v.b, v.i)
		if v.i == len(v.b) || v.b[v.i] < ' ' {
			return false
		}
		if v.b[v.i] == '"' {
			v.i++
			return true
		}
		if !v.escape() {
			return false
		}
	}
}

// escape skips all of an escape but its last byte.
func (v *validator) escape() bool {
	if v.i++; v.i == len(v.b) {
		return false
	}
	switch v.b[v.i] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return true
	case 'u':
	default:
		return false
	}
	for range 4 {
		if v.i++; v.i == len(v.b) || !hexDigit(v.b[v.i]) {
			return false
		}
	}
	return true
}

func hexDigit(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f'
}

const (
	lowBits  = 0x0101010101010101
	highBits = 0x8080808080808080
)

// plainEnd returns the index of the first quote, backslash or control character at or after i.
// It examines eight bytes at a time.
func plainEnd(b []byte, i int) int {
	for ; i+8 <= len(b); i += 8 {
		w := binary.LittleEndian.Uint64(b[i:])
		// The lowest byte found is exact; bytes above it may be false positives.
		found := (zeroBytes(w^'"'*lowBits) | zeroBytes(w^'\\'*lowBits) | (w-' '*lowBits)&^w) & highBits
		if found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
	}
	for i < len(b) && b[i] != '"' && b[i] != '\\' && b[i] >= ' ' {
		i++
	}
	return i
}

// zeroBytes sets the highest bit of the lowest zero byte of w; bytes above that one may be set wrongly.
func zeroBytes(w uint64) uint64 { return (w - lowBits) &^ w }

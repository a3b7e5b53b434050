package awsclient

// defaultAimRecord is the record size to aim for unless the options name one.
const defaultAimRecord = 500 << 10

// AimRecord returns the record size to aim for: want, or the default for 0, and limit at most.
func AimRecord(want, limit int) int {
	if want <= 0 {
		want = defaultAimRecord
	}
	return min(want, limit)
}

// Payload returns data in the form that the SDK requires: an empty payload is not nil.
func Payload(data []byte) []byte {
	if data == nil {
		return []byte{}
	}
	return data
}

package jsonscan

import "bytes"

// byteOrderMark (UTF-8) begins files of many Windows programs. Editors do not show it.
var byteOrderMark = []byte("\ufeff")

// TrimMark returns text without a leading byte order mark.
func TrimMark(text []byte) []byte { return bytes.TrimPrefix(text, byteOrderMark) }

// DescribeMark returns an addition to an error about an invalid byte at offset at: it names a byte order mark, which
// editors do not show. It returns "" for all other bytes.
func DescribeMark(data []byte, at int) string {
	switch data = data[at:]; {
	case bytes.HasPrefix(data, byteOrderMark):
		return ", a byte order mark (BOM)"
	case at == 0 && (bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff"))):
		return ", the byte order mark (BOM) of UTF-16, where UTF-8 is needed"
	}
	return ""
}

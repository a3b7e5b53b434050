package jsonscan

import "bytes"

// Member returns the index of the value of the object's last member with that name, or -1. The object's first member is
// at or after i.
func Member(data []byte, i int, name string) int {
	found := -1
	for i = SkipSpace(data, i); data[i] != '}'; i = SkipSpace(data, i) {
		if data[i] == ',' {
			i = SkipSpace(data, i+1)
		}
		end := StringEnd(data, i)
		own := named(data[i:end], name)
		i = SkipSpace(data, end)
		i = SkipSpace(data, i+1) // after the colon
		if own {
			found = i
		}
		i = ValueEnd(data, i)
	}
	return found
}

// named reports whether a quoted string stands for name.
func named(quoted []byte, name string) bool {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return string(quoted[1:len(quoted)-1]) == name
	}
	text, whole := AppendText(nil, quoted)
	return whole && string(text) == name
}

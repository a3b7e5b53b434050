package ingest

import "bytes"

// keyInField returns the partition key that stands in an event's data: the string or number of the
// field that path leads to, from object to object. Of a field that is there twice the last counts.
func keyInField(data []byte, path []string) (string, *refusal) {
	if fault, ok := validJSON(data); !ok {
		return "", misfit("data of %d bytes is not valid JSON from byte %d on%s, so that it has no key_field", len(data), fault, markAt(data, fault))
	}
	i := skipSpace(data, 0)
	for _, name := range path {
		if data[i] != '{' {
			return "", invalid("key_field: no object holds %s", quoteName(name))
		}
		if i = member(data, i+1, name); i < 0 {
			return "", invalid("key_field: %s is missing", quoteName(name))
		}
	}
	value := data[i:valueEnd(data, i)]
	switch c := value[0]; {
	case c == '"':
		return text("key_field", value)
	case c == '-' || '0' <= c && c <= '9':
		return string(value), nil
	}
	return "", invalid("key_field is %s; a string and a number are allowed", kindOf(value))
}

// member returns where the value of the last member of that name begins, or -1. The first member of
// the object is at or after i.
func member(data []byte, i int, name string) int {
	found := -1
	for i = skipSpace(data, i); data[i] != '}'; i = skipSpace(data, i) {
		if data[i] == ',' {
			i = skipSpace(data, i+1)
		}
		end := stringEnd(data, i)
		own := named(data[i:end], name)
		i = skipSpace(data, end)
		i = skipSpace(data, i+1) // after the colon
		if own {
			found = i
		}
		i = valueEnd(data, i)
	}
	return found
}

// named reports whether a quoted string says name.
func named(quoted []byte, name string) bool {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return string(quoted[1:len(quoted)-1]) == name
	}
	said, whole := appendText(nil, quoted)
	return whole && string(said) == name
}

package intake

import "github.com/standpipe/standpipe/agent/ingest/internal/jsonscan"

// KeyInField returns the partition key that stands in an event's data: the string or number of the
// field that path leads to, from object to object. Of a field that is there twice the last counts. The text about a missing field ends with hint.
func KeyInField(data []byte, path []string, hint string) (string, *Rejection) {
	if fault, ok := jsonscan.Valid(data); !ok {
		return "", WrongFormat("data of %d bytes is not valid JSON from byte %d on%s, so that it has no key_field", len(data), fault, jsonscan.DescribeMark(data, fault))
	}
	i := jsonscan.SkipSpace(data, 0)
	for _, name := range path {
		if data[i] != '{' {
			return "", Invalid("key_field: no object holds %s", QuoteName(name))
		}
		if i = jsonscan.Member(data, i+1, name); i < 0 {
			return "", Invalid("key_field: %s is missing%s", QuoteName(name), hint)
		}
	}
	value := data[i:jsonscan.ValueEnd(data, i)]
	switch c := value[0]; {
	case c == '"':
		key, err := jsonscan.Text("key_field", value)
		if err != nil {
			return "", Invalid("%v", err)
		}
		return key, nil
	case c == '-' || '0' <= c && c <= '9':
		return string(value), nil
	}
	return "", Invalid("key_field is %s; a string and a number are allowed", jsonscan.KindOf(value))
}

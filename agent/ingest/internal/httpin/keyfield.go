package httpin

import (
	"github.com/standpipe/standpipe/agent/ingest/internal/jsonscan"

	"github.com/standpipe/standpipe/agent/ingest/internal/intake"
)

// keyInField returns the partition key that stands in an event's data: the string or number of the
// field that path leads to, from object to object. Of a field that is there twice the last counts.
func keyInField(data []byte, path []string) (string, *intake.Rejection) {
	if fault, ok := jsonscan.Valid(data); !ok {
		return "", intake.WrongFormat("data of %d bytes is not valid JSON from byte %d on%s, so that it has no key_field", len(data), fault, jsonscan.DescribeMark(data, fault))
	}
	i := jsonscan.SkipSpace(data, 0)
	for _, name := range path {
		if data[i] != '{' {
			return "", intake.Invalid("key_field: no object holds %s", intake.QuoteName(name))
		}
		if i = jsonscan.Member(data, i+1, name); i < 0 {
			return "", intake.Invalid("key_field: %s is missing; ?key= gives a key without it", intake.QuoteName(name))
		}
	}
	value := data[i:jsonscan.ValueEnd(data, i)]
	switch c := value[0]; {
	case c == '"':
		key, err := jsonscan.Text("key_field", value)
		if err != nil {
			return "", intake.Invalid("%v", err)
		}
		return key, nil
	case c == '-' || '0' <= c && c <= '9':
		return string(value), nil
	}
	return "", intake.Invalid("key_field is %s; a string and a number are allowed", jsonscan.KindOf(value))
}

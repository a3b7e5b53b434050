package jsonscan

import "fmt"

// Text returns the text of a value that must be a string. Its errors call the value by name.
func Text(name string, value []byte) (string, error) {
	if value[0] != '"' {
		return "", fmt.Errorf("%s is %s; a string is allowed", name, KindOf(value))
	}
	s, whole := AppendText(nil, value)
	if !whole {
		return "", HalfPair(name, value)
	}
	return string(s), nil
}

// HalfPair is the error for a string with an escaped half of a surrogate pair.
func HalfPair(name string, value []byte) error {
	return fmt.Errorf("%s, a string of %d bytes, has half of a surrogate pair, which is no character",
		name, len(value))
}

// KindOf returns the kind of a value with its article, such as "an object".
func KindOf(value []byte) string {
	switch value[0] {
	case '"':
		return "a string"
	case '{':
		return "an object"
	case '[':
		return "an array"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "a number"
}

package jsonscan_test

import (
	"strings"
	"testing"

	"github.com/standpipe/standpipe/agent/ingest/internal/jsonscan"
)

func TestText_TakesStringsAlone(t *testing.T) {
	if got, err := jsonscan.Text("key", []byte(`"a\u00e4\n"`)); got != "aä\n" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	for value, want := range map[string]string{
		"{}": "key is an object; a string is allowed", "[1]": "key is an array; a string is allowed", "true": "key is a boolean; a string is allowed",
		"false": "key is a boolean; a string is allowed", "null": "key is null; a string is allowed", "-1": "key is a number; a string is allowed",
		`"\ud800"`: "key, a string of 8 bytes, has half of a surrogate pair, which is no character",
	} {
		if _, err := jsonscan.Text("key", []byte(value)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", value, err, want)
		}
	}
	if got := jsonscan.KindOf([]byte(`"x"`)); got != "a string" {
		t.Errorf("got %q", got)
	}
}

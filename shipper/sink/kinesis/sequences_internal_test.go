package kinesis

import (
	"fmt"
	"testing"
)

func TestSequences_EvictTheOldest(t *testing.T) {
	var s sequences
	for i := range mostSequences {
		s.note(fmt.Sprint("k", i), fmt.Sprint(i))
	}
	s.note("k0", "again")
	s.note("new", "1")
	for key, want := range map[string]string{"k0": "again", "k1": "", "k2": "2", "new": "1", "never": ""} {
		if got := s.last(key); got != want {
			t.Errorf("%s: got %q, want %q", key, got, want)
		}
	}
	s.forget("k2")
	if got := s.last("k2"); got != "" || len(s.byKey) != mostSequences-1 || s.order.Len() != len(s.byKey) {
		t.Errorf("got %q, %d keys, %d in order", got, len(s.byKey), s.order.Len())
	}
}

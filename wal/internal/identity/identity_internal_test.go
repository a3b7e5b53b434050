package identity

import (
	"reflect"
	"testing"
)

func TestBirthplace_DiffersByWhatBothKnow(t *testing.T) {
	at := func(file, folder, id, cards string) *birthplace {
		return &birthplace{File: file, Folder: folder, Machine: map[string]string{"machine id": id, "network card": cards}}
	}
	for _, test := range []struct {
		name      string
		then, now *birthplace
		want      string
	}{
		{"the same", at("f", "d", "m", "a b"), at("f", "d", "m", "a b"), ""},
		{"another file", at("f", "d", "m", "a"), at("g", "d", "m", "a"), "another file"},
		{"another folder", at("f", "d", "m", "a"), at("g", "e", "m", "a"), "another folder"},
		{"another machine", at("f", "d", "m", "a"), at("f", "d", "n", "a"), "another machine id"},
		{"a card more", at("f", "d", "m", "a b"), at("f", "d", "m", "b c"), ""},
		{"other cards", at("f", "d", "m", "a b"), at("f", "d", "m", "c d"), "another network card"},
		{"unknown now", at("f", "d", "m", "a"), at("", "", "", ""), ""},
		{"unknown then", at("", "", "", ""), at("f", "d", "m", "a"), ""},
	} {
		if got := test.then.differs(test.now); got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}

// Each branch begins at the next offset of its opening. Branches without an event in the log are left out.
func TestBeginBranch_KeepsBranchesOfEventsInTheLog(t *testing.T) {
	l := New()
	l.ID = "log"
	if got, want := l.Branches("s"), []Branch{{1, "log"}}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	l.BeginBranch(map[string]Held{"s": {Oldest: 1, Next: 11}})
	first := l.Latest()
	if got, want := l.Branches("s"), []Branch{{1, "log"}, {11, first}}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	l.BeginBranch(map[string]Held{"s": {Oldest: 5, Next: 21}, "new": {Oldest: 3, Next: 4}})
	if got, want := l.Branches("s"), []Branch{{1, "log"}, {11, first}, {21, l.Latest()}}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got, want := l.Branches("new"), []Branch{{1, first}, {4, l.Latest()}}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	second := l.Latest()
	l.BeginBranch(map[string]Held{"s": {Oldest: 25, Next: 31}})
	if got, want := l.Branches("s"), []Branch{{1, "log"}, {21, second}, {31, l.Latest()}}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if l.Clear(); l.Latest() != "log" || len(l.Branches("s")) != 1 {
		t.Errorf("got %v after Clear", l.Branches("s"))
	}
}

package draw

import "testing"

func TestSeed_IsFixedUnlessAskedFor(t *testing.T) {
	of := func(test, setting string) uint64 {
		seed, err := seedOf(test, setting)
		if err != nil {
			t.Fatal(err)
		}
		return seed
	}
	if once, again := of("TestA", ""), of("TestA", ""); once != again || once == of("TestB", "") {
		t.Error("want a seed that depends on the test alone")
	}
	if once, again := of("TestA", "random"), of("TestA", "random"); once == again {
		t.Error("got the same seed twice, want two drawn ones")
	}
	if got := of("TestA", "18446744073709551615"); got != 1<<64-1 {
		t.Errorf("got %d, want the number", got)
	}
	for _, bad := range []string{"7x", "-1", "18446744073709551616"} {
		if _, err := seedOf("TestA", bad); err == nil {
			t.Errorf("got no error for %q", bad)
		}
	}
}

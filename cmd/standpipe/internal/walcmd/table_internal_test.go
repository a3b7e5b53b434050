package walcmd

import "testing"

func TestWALTable_ShareIsNotRoundedToAllOrNothing(t *testing.T) {
	for want, of := range map[string][2]uint64{"-": {0, 0}, "0%": {0, 5}, "100%": {5, 5}, "1%": {1, 1000}, "99%": {999, 1000}, "50%": {1, 2}} {
		if got := share(of[0], of[1]); got != want {
			t.Errorf("share of %v: got %s, want %s", of, got, want)
		}
	}
}

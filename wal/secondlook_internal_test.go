package wal

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"syscall"
	"testing"
	"testing/synctest"
)

// Whatever the order of errors is, only content that was wrong twice is damage, a read that succeeds is believed, and an
// I/O error that lasts is returned.
func TestSecondLook_BelievesDamageOnlyTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wrong, failing := &CorruptError{Reason: "wrong"}, &readError{err: syscall.EIO}
		outcomes := []error{nil, wrong, failing, &VersionError{}, fs.ErrPermission}
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		r := rand.New(rand.NewPCG(seed, 1))
		for range 500 {
			var told []error
			err := lookTwice(context.Background(), func() error {
				told = append(told, outcomes[r.IntN(len(outcomes))])
				return told[len(told)-1]
			})
			bad, failed := 0, 0
			for _, e := range told {
				if damaged(e) || later(e) {
					bad++
				}
				if unread(e) {
					failed++
				}
			}
			last := told[len(told)-1]
			switch {
			case !errors.Is(err, last) || err == nil && last != nil:
				t.Fatalf("got %v after %v", err, told)
			case (damaged(err) || later(err)) && bad != 2, unread(err) && failed != len(lookPauses)+1, bad > 2:
				t.Fatalf("got %v after %v", err, told)
			}
		}
	})
}

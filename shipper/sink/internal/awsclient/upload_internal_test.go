package awsclient

import (
	"context"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
	"weak"
)

// A request that ends at the moment of a look is not looked at any more.
func TestUpload_NoLookFollowsTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all []weak.Pointer[Upload]
		for range 200 {
			up := new(Upload)
			all = append(all, weak.Make(up))
			go func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				_, end := up.begin(ctx, 1)
				time.Sleep(firstLook)
				end()
			}()
		}
		time.Sleep(time.Hour)
		runtime.GC()
		runtime.GC()
		looks := 0
		for _, up := range all {
			if up.Value() != nil {
				looks++
			}
		}
		if looks > 0 {
			t.Errorf("%d of %d requests have timers after their end", looks, len(all))
		}
	})
}

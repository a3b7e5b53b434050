package upload

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestWatch_EndsRequestsWithoutProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sent atomic.Int64
		stopped := make(chan time.Time, 1)
		begin := time.Now()
		end := watch(sent.Load, 10*time.Second, func() { stopped <- time.Now() })
		defer end()
		for range 60 { // a slow body: a byte every 5 s
			time.Sleep(5 * time.Second)
			sent.Add(1)
		}
		select {
		case <-stopped:
			t.Fatal("stopped although bytes went out")
		default:
		}
		if got := (<-stopped).Sub(begin); got < 310*time.Second || got > 320*time.Second {
			t.Errorf("stopped after %s, want 10 to 20 s after the last byte, which went out after 300 s", got)
		}
	})
}

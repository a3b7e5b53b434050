package limit_test

import (
	"testing"
	"time"

	"github.com/standpipe/standpipe/shipper/limit"
)

func TestBucket_FillsToItsBurstAndOwes(t *testing.T) {
	now := time.Unix(1e9, 0)
	b := limit.NewBucket(100, 50, now)
	b.Take(80) // more than it holds
	for _, step := range []struct {
		after time.Duration
		want  float64
	}{{0, -30}, {-time.Second, -30}, {100 * time.Millisecond, -20}, {time.Second, 50}, {time.Hour, 50}} {
		if b.Fill(now.Add(step.after)); b.Level() != step.want {
			t.Errorf("after %v: level %v, want %v", step.after, b.Level(), step.want)
		}
	}
	b.Take(-20)
	if b.Fill(now.Add(2 * time.Hour)); b.Level() != 70 {
		t.Errorf("level %v, want the returned tokens beyond the burst: 70", b.Level())
	}
	if b.Cap(); b.Level() != 50 {
		t.Errorf("level %v after Cap, want the burst: 50", b.Level())
	}
	if b.Set(10, 20); b.Level() != 20 {
		t.Errorf("level %v after a burst of 20 was set", b.Level())
	}
	b.Reset(5)
	if got := b.Until(15); got != 1 {
		t.Errorf("15 tokens in %v s, want 1", got)
	}
}

func TestBucket_WithoutALimitNeverWaits(t *testing.T) {
	var b limit.Bucket
	b.Take(1e9)
	if got := b.Until(1e9); got != 0 {
		t.Errorf("got a wait of %v s", got)
	}
}

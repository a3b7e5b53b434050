package admin_test

import (
	"testing"
	"time"

	"github.com/standpipe/standpipe/agent/admin"
)

func TestAge(t *testing.T) {
	tests := []struct {
		d    time.Duration
		want string
	}{
		{-time.Second, "0.0s"},
		{0, "0.0s"},
		{1540 * time.Millisecond, "1.5s"},
		{9999 * time.Millisecond, "9.9s"},
		{59900 * time.Millisecond, "59s"},
		{3*time.Minute + 12*time.Second, "3m 12s"},
		{time.Hour - time.Second, "59m 59s"},
		{2*time.Hour + 5*time.Minute, "2h 5m"},
		{76 * time.Hour, "3d 4h"},
	}
	for _, test := range tests {
		if got := admin.Age(test.d); got != test.want {
			t.Errorf("Age(%v): got %q, want %q", test.d, got, test.want)
		}
	}
}

func TestPercent(t *testing.T) {
	tests := []struct {
		bytes, max int64
		want       int
	}{{0, 0, 0}, {5, 10, 50}, {11, 10, 100}, {-1, 10, 0}, {999, 1000, 99}}
	for _, test := range tests {
		got := admin.WALStatus{Bytes: test.bytes, MaxBytes: test.max}.Percent()
		if got != test.want {
			t.Errorf("%d of %d: got %d, want %d", test.bytes, test.max, got, test.want)
		}
	}
}

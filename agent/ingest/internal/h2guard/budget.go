package h2guard

import "sync/atomic"

// budget is a number of units that are acquired and released.
type budget struct{ left atomic.Int64 }

// acquire acquires n units, or reports false and changes nothing. It releases -n units if n is negative.
func (b *budget) acquire(n int64) bool {
	if b.left.Add(-n) >= 0 || n <= 0 {
		return true
	}
	b.left.Add(n)
	return false
}

// resize acquires or releases units so that *has becomes need, or reports false and changes nothing.
func resize(acquire func(int64) bool, has *int64, need int64) bool {
	if need > *has && !acquire(need-*has) {
		return false
	}
	if need < *has {
		acquire(need - *has)
	}
	*has = need
	return true
}

//go:build !linux

package wal

// Only Linux provides properties that are not copied. Elsewhere a copied data directory continues the branch of its
// log.

func birthOf(string) string { return "" }

func machine() map[string]string { return nil }

func noteOutside(string, uint64) {}

func notedOutside(string) uint64 { return 0 }

//go:build !linux

package wal

// Only Linux provides properties that are not copied: elsewhere a copied data directory goes on in its log's branch.

func birthOf(string) string { return "" }

func machine() map[string]string { return nil }

func noteOutside(string, uint64) {}

func notedOutside(string) uint64 { return 0 }

//go:build !linux

package identity

// Only Linux provides properties that are not copied. Elsewhere a copied data directory continues the branch of its
// log.

func birthOf(string) string { return "" }

func machine() map[string]string { return nil }

func noteEvents(string, uint64) {}

func notedEvents(string) uint64 { return 0 }

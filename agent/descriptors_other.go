//go:build !unix

package agent

// descriptorLimit is not known where handles have no limit that a process meets.
func descriptorLimit() (limit int64, known bool) { return 0, false }

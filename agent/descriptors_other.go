//go:build !unix

package agent

// descriptorLimit is unknown on platforms without a practical limit of handles.
func descriptorLimit() (limit int64, known bool) { return 0, false }

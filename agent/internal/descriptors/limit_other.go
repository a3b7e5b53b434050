//go:build !unix

package descriptors

// Limit is unknown on platforms without a practical limit of handles.
func Limit() (limit int64, known bool) { return 0, false }

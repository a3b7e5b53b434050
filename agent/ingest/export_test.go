package ingest

// WithRoom gives a gRPC listener less room than there is in life, for tests that are short.
func (o Options) WithRoom(bytes int64) Options {
	o.room = bytes
	return o
}

package s3

// SetPartSize sets a size of parts that S3 would not take.
func (s *Sink) SetPartSize(n int) { s.bucket.PartSize = n }

// Classify and Key are used as they are.
var Classify = classify

// Key returns the key of an object that would begin now.
func (s *Sink) Key(first uint64) string {
	return s.names.key(s.o.Clock(), first, extensions[s.o.Format+" "+string(s.o.Compression)])
}

// Owns reports whether an unfinished upload with the key would be aborted at the start.
func (s *Sink) Owns(key string) bool { return s.names.owns(key) }

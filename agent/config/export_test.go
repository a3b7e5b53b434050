package config

// Known lists every block and setting of the schema, "stream.destination.kinesis.batch.max_delay"
// for example.
func Known() []string { return fileSection.known("") }

package wal

// WithFaults returns o with hooks that run before and after each commit and may make it fail.
func (o Options) WithFaults(before, after func() error) Options {
	o.beforeCommit, o.afterCommit = before, after
	return o
}

// ProducerRuns is how many runs are remembered of a producer.
const ProducerRuns = producerRuns

// Dir is where the segments are.
func (l *Log) Dir() string { return l.dir }

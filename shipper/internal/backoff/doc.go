// Package backoff has the classes of a destination's errors and the delays that follow them: full jitter for failures that
// pass by themselves, about Retry.Max for those that need an operator, and never less than the service requires.
package backoff

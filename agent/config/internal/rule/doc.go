// Package rule has the rules for the values of single settings: the names of topics, queues and headers, for instance. Each
// function returns the fault of a value, as "is empty", or "" for an allowed value.
package rule

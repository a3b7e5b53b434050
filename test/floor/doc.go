// Package floor has the reference of the benchmarks for the WAL: bbolt alone, with the options of the log's newest
// segment. One goroutine stores values of a given length, in as many transactions as the log makes commits. A benchmark
// runs it in turns with the log, so both meet the same machine, and reports the ratio.
//
// It exists on Linux only, because it preallocates as the log does.
package floor

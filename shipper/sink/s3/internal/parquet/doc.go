// Package parquet encodes events as an Apache Parquet file.
//
// # Contract
//
//	stream      string
//	offset      int64
//	key         string
//	time        timestamp, microseconds, UTC: the event's own
//	attributes  map of string to string
//	data        string, or bytes for streams whose payloads are bytes
//
// No column has nulls. The rows of a row group are sorted by key, then offset, and the file declares that. The key column
// has a bloom filter. All columns except data and the attributes' values have bounds in the page index. A page has at most
// 1,024 rows in every column, so that a reader which looks for one key reads few pages of each row group.
//
// A row group holds the events of one sort buffer, whose size is an option. The larger it is, the fewer bytes a reader of
// one key reads.
//
// # Limits
//
//   - A time is cut to microseconds: many readers take no nanoseconds.
//   - A string must be valid UTF-8: readers reject the file otherwise. Check finds such events.
//   - The memory is the sort buffer and the encoded pages of one row group. The sort buffer grows with its events.
package parquet

// Package statsd counts events in a metrics system: by name and by allowed tags, added up over an interval. The events
// themselves are not sent.
//
// # Contract
//
//   - A range is an interval. Its events are settled when all of its datagrams are handed to the socket; that is all that
//     StatsD confirms. The settlement is synced at once. After a crash the last interval may count twice.
//   - A counter is the number of events of a series, or the sum of their values. A gauge is the last value. Timers and
//     distributions send values: with SampleRate, one value stands for 1/SampleRate of them and has the rate, so that the
//     server's count is the number of events.
//   - An event that is no JSON object, or has no name, counts under the name "other". An event without the tag's field has no
//     such tag. An event without a value, where one is needed, counts in a counter whose name ends with ".invalid".
//   - There are at most MaxSeries series, those of the last hour: all others count under the name "other" with tags "other".
//   - Characters other than A-Z a-z 0-9 . _ - become "_"; in tags of the flavor statsd the dot does too.
//   - After an error, Commit continues with the first datagram that was not sent.
//
// # Limits
//
// A datagram has at most 1,432 bytes over UDP and 8 KiB over a unix socket. Over UDP they are sent with pauses, since the
// buffer of a receiver is small: about 8,000 a second. A range has at most 100,000 values of timers and distributions.
// Memory is about 300 bytes a series, and 8 bytes a value.
package statsd

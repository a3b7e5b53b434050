// Package limit has the token bucket of all rates in the agent: of an identity's events and bytes, of a link's bandwidth,
// and of reads beside the producers.
//
// It is not golang.org/x/time/rate: callers here take from several buckets or from none, take more than a bucket holds
// and owe the rest, and change the rate while tokens are owed. The package is part of the shipper because that is the
// lowest package with such rates.
//
// A Bucket is not safe for concurrent use: its owner has the lock, because it takes from several buckets at once.
package limit

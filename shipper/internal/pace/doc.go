// Package pace limits requests to the rate that a service takes, and derives that rate from its throttling.
//
// A destination has a Pacer. It has a Pace for each part of the service that has a quota of its own (a shard, or the
// whole where there are no shards) and one for each lane. A Pace is three token buckets (bytes, records, requests) whose
// rate is the quota times a factor: 1 while nothing is throttled, less after throttling. Where no quota is known, there
// is no limit until the first throttling shows one.
//
// # Contract
//
//   - An event joins a batch only if its part and its lane have tokens for it. A bucket holds the tokens of one second.
//     A bucket that ran empty is used again once it holds 0.6 of that, so that small records still share a request.
//     An event that is larger than a bucket is sent once the bucket holds 0.6 of that; the rest becomes a debt.
//   - Throttling slows the smallest part that explains it: the lanes of the throttled record, if the other lanes of its
//     part do well or send nothing, otherwise the part. Where the parts are unknown it is always the lanes. A request
//     that failed as a whole is no evidence about any of them.
//   - Throttling halves the factor, once for all requests in flight, at most down to 1/64 of the rate before it. 5 s after
//     the last throttling the pace is back at the rate that met it, and 16 s after it at the rate before all throttling,
//     however often that was halved. Without a quota it then doubles each 1.5 s, while records are taken, and loses its
//     limit at four times that rate.
//   - After an outage a pace starts at 1/8 of its rate and doubles each second.
//   - After a reshard, a new shard starts with full buckets; a shard that stays keeps its pace.
//
// # Assumptions and limits
//
// The methods of Pacer and Pace are called by one goroutine. ShardMap is immutable and may be shared. With more shards
// than lanes, several shards share a lane and the slowest holds up the lane. Other writers to the same shard are noticed
// by their throttling only.
//
// The package imports nothing of standpipe but the token bucket; lanes are numbers below NumLanes.
package pace

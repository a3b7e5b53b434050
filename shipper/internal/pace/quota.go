package pace

// Quota is the load that a service takes in a second from one shard or, where it has no shards, from one destination. A
// zero is an unknown limit.
type Quota struct {
	Bytes    int // of records, with their keys where those count
	Records  int
	Requests int // only where there are no shards
}

// unit is the quota of a Kinesis shard. It sets the scale of the factor where the service names no quota.
var unit = Quota{Bytes: 1_000_000, Records: 1000}

// Load is an amount of the things that quotas count.
type Load struct{ Bytes, Records, Requests float64 }

// Plus returns the sum of l and the product of o and times.
func (l Load) Plus(o Load, times float64) Load {
	return Load{l.Bytes + times*o.Bytes, l.Records + times*o.Records, l.Requests + times*o.Requests}
}

func (l Load) times(f float64) Load { return Load{l.Bytes * f, l.Records * f, l.Requests * f} }

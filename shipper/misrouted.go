package shipper

// errMisrouted: the event was stored in a shard where no consumer reads it. It is sent again at once, by the new map.
var errMisrouted = &Error{Class: Transient, Code: "resharded", Record: -1}

// markMisrouted marks the aggregated records that landed in a shard which does not hold all of their keys: the
// stream was resharded meanwhile, or ignores keys. markMisrouted returns the number of marked records.
func (o *outcome) markMisrouted(results []*Error) (n int) {
	b := o.batch
	if b.Shape().Framing != FramingKPL || o.response.Err != nil || len(o.response.Landed) != b.Len() {
		return 0
	}
	for i := range results {
		if results[i] == nil && b.Misrouted(i, o.records[i].Data, o.response.Landed[i], o.response.Shards) {
			results[i] = errMisrouted
			n++
		}
	}
	return n
}

package catchup

import "github.com/standpipe/standpipe/wal"

// Window returns the offset below which the queues' events have about that many bytes of payload: the lanes that send no event at
// or beyond it stay together. Every queue is ascending. If the queues have fewer bytes, the result is beyond all of them.
func Window(queues [][]wal.Event, bytes int) (end uint64) {
	heads := make([]int, len(queues))
	for {
		first := -1
		for i, q := range queues {
			if heads[i] < len(q) && (first < 0 || q[heads[i]].Offset < queues[first][heads[first]].Offset) {
				first = i
			}
		}
		if first < 0 {
			return noEnd
		}
		e := &queues[first][heads[first]]
		if bytes <= 0 {
			return e.Offset
		}
		bytes -= len(e.Data)
		heads[first]++
	}
}

// noEnd is beyond every offset.
const noEnd = ^uint64(0)

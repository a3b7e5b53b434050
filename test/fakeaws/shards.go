package fakeaws

import (
	"encoding/json"
	"net/http"
	"strconv"
)

// Shard is a shard of a stream, as in ListShards.
type Shard struct {
	ID     string
	First  string // its lowest hash key, decimal
	Closed bool   // by a split or a merge
}

// SetShards makes every stream one of these shards. There are none at first: the question is refused.
func (s *Server) SetShards(shards ...Shard) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shards = shards
}

// Listed returns the number of shard lists.
func (s *Server) Listed() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.listed
}

const listTarget = "Kinesis_20131202.ListShards"

// list responds with two shards a page. Like some stand-ins it lists closed ones for any filter, and like the service
// it rejects a name beside a token.
func (s *Server) list(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var req struct{ NextToken, StreamName, StreamARN string }
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil || (req.NextToken == "") == (req.StreamName+req.StreamARN == "") {
		(&apiError{status: 400, code: "InvalidArgumentException", text: "a name or a token"}).write(w, r)
		return
	}
	from, _ := strconv.Atoi(req.NextToken)
	if from == 0 {
		s.listed++
	}
	if from >= len(s.shards) {
		(&apiError{status: 400, code: "ResourceNotFoundException", text: "no shards"}).write(w, r)
		return
	}
	reply := map[string]any{}
	var page []any
	for _, shard := range s.shards[from:min(from+2, len(s.shards))] {
		numbers := map[string]string{"StartingSequenceNumber": "1"}
		if shard.Closed {
			numbers["EndingSequenceNumber"] = "2"
		}
		page = append(page, map[string]any{"ShardId": shard.ID, "SequenceNumberRange": numbers,
			"HashKeyRange": map[string]string{"StartingHashKey": shard.First, "EndingHashKey": "0"}})
	}
	if reply["Shards"] = page; from+2 < len(s.shards) {
		reply["NextToken"] = strconv.Itoa(from + 2)
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.Write(encode(reply))
}

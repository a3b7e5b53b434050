package s3

import (
	"crypto/rand"
	"encoding/json"

	"github.com/standpipe/standpipe/shipper"
)

// span is a sealed range: the state that is stored with the cursor before the range's Commit.
type span struct {
	Kind        string              `json:"sink"` // stateKind
	Endpoint    string              `json:"endpoint,omitempty"`
	Bucket      string              `json:"bucket"`
	Key         string              `json:"key"`
	Format      string              `json:"format"`
	Compression shipper.Compression `json:"compression,omitempty"`
	First       uint64              `json:"first"`               // the offset in the key
	Attempts    []attempt           `json:"attempts"`            // whose object may exist, or come into existence; the latest is last
	UploadID    string              `json:"upload_id,omitempty"` // of the latest attempt
}

// attempt is an attempt to write a range. Its ID is in the metadata of its object.
type attempt struct {
	ID   string `json:"id"`
	Last uint64 `json:"last"` // the offset of the last event
}

// stateKind distinguishes the state from those of other sinks.
const stateKind = "s3"

// maxAttempts bounds the state. Each attempt began after the previous one had ended without an object, so the requests
// of one that is so many attempts old are no longer under way.
const maxAttempts = 16

func (s *span) encode() []byte {
	b, err := json.Marshal(s)
	if err != nil {
		panic("s3: encode state: " + err.Error()) // strings and numbers only
	}
	return b
}

// decodeSpan returns the range in a state, or nil if there is none.
func decodeSpan(state []byte) *span {
	s := new(span)
	if json.Unmarshal(state, s) != nil || s.Kind != stateKind || s.Key == "" || len(s.Attempts) == 0 {
		return nil
	}
	return s
}

// last returns the offset of the last event of any attempt.
func (s *span) last() (last uint64) {
	for _, a := range s.Attempts {
		last = max(last, a.Last)
	}
	return last
}

// find returns the attempt with an ID.
func (s *span) find(id string) (attempt, bool) {
	for _, a := range s.Attempts {
		if a.ID == id && id != "" {
			return a, true
		}
	}
	return attempt{}, false
}

func (s *span) latest() *attempt { return &s.Attempts[len(s.Attempts)-1] }

// add adds an attempt, whose last offset Seal sets.
func (s *span) add() {
	s.Attempts = append(s.Attempts, attempt{ID: rand.Text()})
	if n := len(s.Attempts) - maxAttempts; n > 0 {
		s.Attempts = s.Attempts[n:]
	}
}

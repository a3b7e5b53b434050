package livetail

import (
	"time"
	"unicode/utf8"

	"github.com/standpipe/standpipe/wal"
)

// maxShown bounds the bytes of data, and those of attributes, that a view shows of an event.
const maxShown = 4 << 10

// shown is an event as JSON.
type shown struct {
	Offset     uint64            `json:"offset"`
	Time       string            `json:"time"`
	Key        string            `json:"key"`
	Attributes map[string]string `json:"attributes,omitempty"`
	Data       *string           `json:"data,omitempty"`        // if it is UTF-8
	Base64     []byte            `json:"data_base64,omitempty"` // else
	Bytes      int               `json:"bytes"`                 // of all data
	// Cut reports that Data or Base64 is the begin of the data alone, or that Attributes are left out.
	Cut bool   `json:"cut,omitempty"`
	Lag uint64 `json:"lag"` // events behind this one
}

func show(e *wal.Event, lag uint64) *shown {
	s := &shown{
		Offset: e.Offset, Key: e.Key, Attributes: e.Attributes, Bytes: len(e.Data), Lag: lag,
		Time: time.Unix(0, e.Time).UTC().Format("2006-01-02T15:04:05.000000000Z"),
	}
	size := 0
	for name, value := range e.Attributes {
		size += len(name) + len(value)
	}
	if size > maxShown {
		s.Attributes, s.Cut = nil, true
	}
	begin, cut := e.Data, false
	if len(begin) > maxShown {
		begin, cut, s.Cut = begin[:maxShown], true, true
	}
	if text, ok := asText(begin, cut); ok {
		s.Data = &text
	} else {
		s.Base64 = begin
	}
	return s
}

// asText returns data that is UTF-8. The last character of data that was cut may be left out.
func asText(data []byte, cut bool) (text string, ok bool) {
	for range utf8.UTFMax {
		if utf8.Valid(data) {
			return string(data), true
		}
		if !cut || len(data) == 0 {
			break
		}
		data = data[:len(data)-1]
	}
	return "", false
}

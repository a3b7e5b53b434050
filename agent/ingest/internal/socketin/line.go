package socketin

import (
	"encoding/base64"
	"strconv"
	"unicode/utf8"

	"github.com/standpipe/standpipe/agent/ingest/internal/intake"
	"github.com/standpipe/standpipe/agent/ingest/internal/jsonscan"
	"github.com/standpipe/standpipe/wal"
	"github.com/standpipe/standpipe/wal/timeline"
)

// lineReading turns a request line into a request:
//
//	{"stream":"clicks","key":"u1","data":{...}}
//
// One of data (any JSON value; a string stands for its text) and data_base64 (bytes, in the
// standard alphabet with padding) is needed. Optional are time (RFC 3339), attributes (an object of
// strings), ack ("accepted", "durable" or "delivered"), and producer_id with producer_sequence.
// null for one of these is the same as leaving it out. An unknown or repeated field is rejected. A byte order mark
// before the line is skipped. Numbers keep all their digits, and an object's keys keep their order.
type lineReading struct {
	into  *intake.Request
	event *wal.Event
	seen  fieldSet
	// scratch takes the data where it can't stay in the line.
	scratch []byte
}

// maxScratch bounds the buffer of a connection that is kept for its next line.
const maxScratch = 64 << 10

// read parses line. The request's data may lie in the line and in p, until the next read.
func (p *lineReading) read(line []byte, into *intake.Request, now timeline.Stamp) *intake.Rejection {
	line = jsonscan.TrimMark(line)
	if !utf8.Valid(line) {
		return intake.Invalid("the line of %d bytes is not valid UTF-8", len(line))
	}
	if fault, ok := jsonscan.Valid(line); !ok {
		return intake.Invalid("the line of %d bytes is not valid JSON from byte %d on", len(line), fault)
	}
	i := jsonscan.SkipSpace(line, 0)
	if line[i] != '{' {
		return intake.Invalid("the line of %d bytes is no JSON object", len(line))
	}
	p.begin(into, now)
	if r := p.fields(line, i+1); r != nil {
		return r
	}
	if p.seen&(fieldData|fieldBase64) == 0 {
		return intake.Invalid("one of data and data_base64 is needed")
	}
	return nil
}

func (p *lineReading) begin(into *intake.Request, now timeline.Stamp) {
	p.seen = 0
	if cap(p.scratch) > maxScratch {
		p.scratch = nil
	}
	into.Batch.Events = append(into.Batch.Events[:0], wal.Event{Time: now.At, Timeline: now.Timeline})
	p.into, p.event = into, &into.Batch.Events[0]
}

// fields reads the members of the object whose first one is at or after i.
func (p *lineReading) fields(line []byte, i int) *intake.Rejection {
	for i = jsonscan.SkipSpace(line, i); line[i] != '}'; i = jsonscan.SkipSpace(line, i) {
		if line[i] == ',' {
			i = jsonscan.SkipSpace(line, i+1)
		}
		end := jsonscan.StringEnd(line, i)
		name := line[i:end]
		i = jsonscan.SkipSpace(line, end)
		i = jsonscan.SkipSpace(line, i+1) // after the colon
		end = jsonscan.ValueEnd(line, i)
		if r := p.field(name, line[i:end]); r != nil {
			return r
		}
		i = end
	}
	return nil
}

func (p *lineReading) field(quoted, value []byte) *intake.Rejection {
	name, r := lineText("a field's name", quoted)
	if r != nil {
		return r
	}
	f, known := lineFields[name]
	if !known {
		return intake.Invalid("field %s is unknown; stream, key, data, data_base64, time, attributes, ack, "+
			"producer_id and producer_sequence are allowed", intake.QuoteName(name))
	}
	if p.seen&f.bit != 0 {
		return intake.Invalid("field %s is there twice", name)
	}
	if name != "data" && string(value) == "null" {
		return nil
	}
	p.seen |= f.bit
	return f.read(p, value)
}

// fieldSet is a set of a line's fields.
type fieldSet uint16

const (
	fieldData fieldSet = 1 << iota
	fieldBase64
	fieldStream
	fieldKey
	fieldTime
	fieldAttributes
	fieldAck
	fieldProducerID
	fieldProducerSequence
)

type lineField struct {
	bit  fieldSet
	read func(p *lineReading, value []byte) *intake.Rejection
}

var lineFields = map[string]lineField{
	"stream":            {fieldStream, (*lineReading).stream},
	"key":               {fieldKey, (*lineReading).key},
	"data":              {fieldData, (*lineReading).data},
	"data_base64":       {fieldBase64, (*lineReading).base64},
	"time":              {fieldTime, (*lineReading).time},
	"attributes":        {fieldAttributes, (*lineReading).attributes},
	"ack":               {fieldAck, (*lineReading).ack},
	"producer_id":       {fieldProducerID, (*lineReading).producerID},
	"producer_sequence": {fieldProducerSequence, (*lineReading).producerSequence},
}

func (p *lineReading) stream(value []byte) (r *intake.Rejection) {
	p.into.Batch.Stream, r = lineText("stream", value)
	return r
}

func (p *lineReading) key(value []byte) (r *intake.Rejection) {
	p.event.Key, r = lineText("key", value)
	return r
}

func (p *lineReading) data(value []byte) *intake.Rejection {
	if p.seen&fieldBase64 != 0 {
		return errTwoData
	}
	if value[0] != '"' {
		p.scratch = jsonscan.AppendCompact(p.scratch[:0], value)
		p.into.JSON = true
	} else {
		var whole bool
		if p.scratch, whole = jsonscan.AppendText(p.scratch[:0], value); !whole {
			return intake.Invalid("%v", jsonscan.HalfPair("data", value))
		}
		p.into.Text = true
	}
	p.event.Data = p.scratch
	return nil
}

var errTwoData = intake.Invalid("data and data_base64 are both there; one of them is allowed")

func (p *lineReading) base64(value []byte) *intake.Rejection {
	if p.seen&fieldData != 0 {
		return errTwoData
	}
	encoded, r := lineText("data_base64", value)
	if r != nil {
		return r
	}
	decoded, err := base64.StdEncoding.AppendDecode(p.scratch[:0], []byte(encoded))
	if err != nil {
		return intake.Invalid("data_base64 of %d characters is not base64 in the standard alphabet with padding", len(encoded))
	}
	p.scratch, p.event.Data = decoded, decoded
	return nil
}

func (p *lineReading) time(value []byte) *intake.Rejection {
	s, r := lineText("time", value)
	if r == nil {
		p.event.Time, r = intake.ParseTime("time", s)
		p.event.Timeline = 0
	}
	return r
}

func (p *lineReading) attributes(value []byte) *intake.Rejection {
	if value[0] != '{' {
		return intake.Invalid("attributes is %s; an object of strings is allowed", jsonscan.KindOf(value))
	}
	attributes := make(map[string]string)
	for i := jsonscan.SkipSpace(value, 1); value[i] != '}'; i = jsonscan.SkipSpace(value, i) {
		if value[i] == ',' {
			i = jsonscan.SkipSpace(value, i+1)
		}
		end := jsonscan.StringEnd(value, i)
		name, r := lineText("an attribute's name", value[i:end])
		if r != nil {
			return r
		}
		i = jsonscan.SkipSpace(value, jsonscan.SkipSpace(value, end)+1)
		end = jsonscan.ValueEnd(value, i)
		if attributes[name], r = lineText("attribute "+intake.QuoteName(name), value[i:end]); r != nil {
			return r
		}
		i = end
	}
	p.event.Attributes = attributes
	return nil
}

func (p *lineReading) ack(value []byte) *intake.Rejection {
	s, r := lineText("ack", value)
	if r == nil {
		p.into.Ack, r = intake.ParseAck(s)
	}
	return r
}

func (p *lineReading) producerID(value []byte) (r *intake.Rejection) {
	p.into.Batch.ProducerID, r = lineText("producer_id", value)
	return r
}

func (p *lineReading) producerSequence(value []byte) *intake.Rejection {
	n, err := strconv.ParseUint(string(value), 10, 64)
	if err != nil {
		return intake.Invalid("producer_sequence is %s that is no whole number from 1 to 18446744073709551615", jsonscan.KindOf(value))
	}
	p.into.Batch.ProducerSequence = n
	return nil
}

// lineText returns the text of a value that must be a string.
func lineText(name string, value []byte) (string, *intake.Rejection) {
	s, err := jsonscan.Text(name, value)
	if err != nil {
		return "", intake.Invalid("%v", err)
	}
	return s, nil
}

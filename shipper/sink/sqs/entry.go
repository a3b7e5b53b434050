package sqs

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/standpipe/standpipe/shipper"
)

// The codes of events that SQS cannot carry.
const (
	codeEmpty     = "EmptyMessage"
	codeCharacter = "InvalidMessageContents"
	codeTooLarge  = "MessageTooLong"
)

// The message attributes that are not the event's.
const (
	attributeID       = "standpipe-id"
	attributeKey      = "standpipe-key"
	attributeEncoding = "standpipe-encoding"
	attributeRest     = "standpipe-attributes"
)

// entry returns the message for r, and the bytes of it that SQS counts. An event that SQS cannot carry is an error.
func (s *Sink) entry(index int, r *shipper.Record, most int) (e types.SendMessageBatchRequestEntry, size int, err *shipper.Error) {
	body := ""
	if s.o.encoded() {
		body = base64.StdEncoding.EncodeToString(r.Data)
	} else if body, err = text(r.Data); err != nil {
		return e, 0, err
	}
	if body == "" {
		return e, 0, poison(codeEmpty, "the message would be empty")
	}
	id := s.idOf(r.First)
	e = types.SendMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(index)), MessageBody: &body, MessageAttributes: s.attributes(r, id)}
	if s.o.fifo() {
		e.MessageGroupId, e.MessageDeduplicationId = aws.String(groupOf(r.Key)), aws.String(s.deduplicationID(id, r.First))
	}
	size = len(body)
	for name, a := range e.MessageAttributes {
		size += len(name) + len(*a.DataType) + len(*a.StringValue)
	}
	if size > most {
		return e, 0, poison(codeTooLarge, fmt.Sprintf("the message has %d bytes with its attributes; the queue takes %d", size, most))
	}
	return e, size, nil
}

func poison(code, text string) *shipper.Error {
	return &shipper.Error{Class: shipper.Poison, Code: code, Text: text, Record: -1}
}

// text returns data as a message's body.
func text(data []byte) (string, *shipper.Error) {
	for i := 0; i < len(data); {
		if c := data[i]; c >= ' ' && c < utf8.RuneSelf || c == '\t' || c == '\n' || c == '\r' {
			i++
			continue
		}
		r, n := utf8.DecodeRune(data[i:])
		if !allowed(r, n) {
			return "", poison(codeCharacter, fmt.Sprintf("data of %d bytes has a character at byte %d that SQS does not take", len(data), i))
		}
		i += n
	}
	return string(data), nil
}

// allowed reports whether a message may have the rune, which takes n bytes.
func allowed(r rune, n int) bool {
	switch {
	case r == utf8.RuneError && n <= 1:
		return false
	case r < ' ':
		return r == '\t' || r == '\n' || r == '\r'
	}
	return r != 0xFFFE && r != 0xFFFF
}

// idOf returns the ID of the event at offset, as an envelope has it.
func (s *Sink) idOf(offset uint64) string {
	log := ""
	for i := range s.o.Branches {
		if b := &s.o.Branches[i]; i == 0 || b.First <= offset {
			log = b.ID
		}
	}
	return log + "/" + s.o.Source + "/" + strconv.FormatUint(offset, 10)
}

// deduplicationID returns id, in a shorter form if SQS does not take one of its length.
func (s *Sink) deduplicationID(id string, offset uint64) string {
	if len(id) <= deduplications {
		return id
	}
	sum := sha256.Sum256([]byte(strings.TrimSuffix(id, strconv.FormatUint(offset, 10))))
	return hex.EncodeToString(sum[:]) + "/" + strconv.FormatUint(offset, 10)
}

// groupOf returns the message group of a key.
func groupOf(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

// attributes returns the attributes of the message for r. In an envelope the ID and the key are part of the body.
func (s *Sink) attributes(r *shipper.Record, id string) map[string]types.MessageAttributeValue {
	var own []string // names and values
	if s.o.Envelope == nil {
		own = append(own, attributeID, id, attributeKey, r.Key)
	}
	if s.o.encoded() {
		own = append(own, attributeEncoding, "base64")
	}
	var event map[string]string
	if r.Event != nil {
		event = r.Event.Attributes
	}
	all, rest := make(map[string]types.MessageAttributeValue, len(own)/2+len(event)), make(map[string]string)
	put := func(name, value string) {
		if _, taken := all[name]; taken || len(all) == maxAttributes || !carries(name, value) {
			rest[name] = value
			return
		}
		all[name] = types.MessageAttributeValue{DataType: aws.String("String"), StringValue: &value}
	}
	for i := 0; i < len(own); i += 2 {
		put(own[i], own[i+1])
	}
	names := slices.Sorted(maps.Keys(event))
	for _, name := range names {
		put(name, event[name])
	}
	if len(rest) == 0 {
		return all
	}
	for i := len(names) - 1; len(all) == maxAttributes && i >= 0; i-- { // makes room for the rest
		if _, there := all[names[i]]; there {
			delete(all, names[i])
			rest[names[i]] = event[names[i]]
		}
	}
	b, _ := json.Marshal(rest) // strings have no error
	all[attributeRest] = types.MessageAttributeValue{DataType: aws.String("String"), StringValue: aws.String(string(b))}
	return all
}

// attributeName matches the names that SQS allows: "Amazon SQS message attributes", SQS Developer Guide, November 2026.
var attributeName = regexp.MustCompile(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$`)

// maxAttributeName is the length limit of a name.
const maxAttributeName = 256

// carries reports whether SQS takes the attribute as it is.
func carries(name, value string) bool {
	lower := strings.ToLower(name)
	if len(name) > maxAttributeName || !attributeName.MatchString(name) || value == "" || name == attributeRest ||
		strings.HasPrefix(lower, "aws.") || strings.HasPrefix(lower, "amazon.") {
		return false
	}
	_, err := text([]byte(value))
	return err == nil
}

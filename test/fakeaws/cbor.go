package fakeaws

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/aws/smithy-go/encoding/cbor"
)

const contentCBOR = "application/x-amz-cbor-1.1"

// InCBOR reports whether a request is in CBOR, so its response is too.
func InCBOR(r *http.Request) bool { return r.Header.Get("Content-Type") == contentCBOR }

// Decode decodes the body of a request of Kinesis, in CBOR or JSON.
func Decode(r *http.Request, body []byte, into any) error {
	if InCBOR(r) {
		value, err := cbor.Decode(body)
		if err != nil {
			return fmt.Errorf("decode cbor: %w", err)
		}
		plain, err := plainOf(value)
		if err != nil {
			return err
		}
		body = encode(plain)
	}
	return json.Unmarshal(body, into)
}

// Encode returns the body of the response to a request, in the request's format, and sets the content type.
func Encode(w http.ResponseWriter, r *http.Request, v any) []byte {
	return inFormat(w, r, encode(v))
}

// inFormat returns a response in JSON in the request's format, and sets the content type.
func inFormat(w http.ResponseWriter, r *http.Request, body []byte) []byte {
	if !InCBOR(r) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		return body
	}
	w.Header().Set("Content-Type", contentCBOR)
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		panic(err) // encoded here
	}
	return cbor.Encode(valueOf(v))
}

// plainOf returns a value of a request for encoding/json.
func plainOf(v cbor.Value) (any, error) {
	switch v := v.(type) {
	case cbor.String:
		return string(v), nil
	case cbor.Slice:
		return []byte(v), nil
	case cbor.List:
		list := []any{}
		for _, item := range v {
			plain, err := plainOf(item)
			if err != nil {
				return nil, err
			}
			list = append(list, plain)
		}
		return list, nil
	case cbor.Map:
		members := map[string]any{}
		for name, item := range v {
			plain, err := plainOf(item)
			if err != nil {
				return nil, err
			}
			members[name] = plain
		}
		return members, nil
	}
	return nil, errors.New("decode cbor: an item of a kind that no request has")
}

// valueOf returns a value that encoding/json has decoded for a response.
func valueOf(v any) cbor.Value {
	switch v := v.(type) {
	case string:
		return cbor.String(v)
	case json.Number:
		n, _ := strconv.ParseUint(v.String(), 10, 64) // responses have counts only
		return cbor.Uint(n)
	case []any:
		list := cbor.List{}
		for _, item := range v {
			list = append(list, valueOf(item))
		}
		return list
	case map[string]any:
		members := cbor.Map{}
		for name, item := range v {
			members[name] = valueOf(item)
		}
		return members
	}
	return &cbor.Nil{}
}

// Package agentlog writes the agent's log lines.
//
// The JSON format has the same values as the text format: a duration with its unit, an address and an error as text.
// encoding/json alone would write a number of nanoseconds, an object of bytes, or {}.
package agentlog

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/hashicorp/go-hclog"
)

// New returns a logger as hclog.New does.
func New(o *hclog.LoggerOptions) hclog.Logger {
	l := hclog.New(o)
	if o.JSONFormat {
		return texts{l}
	}
	return l
}

// texts is a logger that passes a value on as text wherever the text format writes it as text.
type texts struct{ hclog.Logger }

func (t texts) Log(level hclog.Level, msg string, args ...any) {
	t.Logger.Log(level, msg, asTexts(args)...)
}
func (t texts) Trace(msg string, args ...any) { t.Logger.Trace(msg, asTexts(args)...) }
func (t texts) Debug(msg string, args ...any) { t.Logger.Debug(msg, asTexts(args)...) }
func (t texts) Info(msg string, args ...any)  { t.Logger.Info(msg, asTexts(args)...) }
func (t texts) Warn(msg string, args ...any)  { t.Logger.Warn(msg, asTexts(args)...) }
func (t texts) Error(msg string, args ...any) { t.Logger.Error(msg, asTexts(args)...) }

func (t texts) With(args ...any) hclog.Logger       { return texts{t.Logger.With(asTexts(args)...)} }
func (t texts) Named(name string) hclog.Logger      { return texts{t.Logger.Named(name)} }
func (t texts) ResetNamed(name string) hclog.Logger { return texts{t.Logger.ResetNamed(name)} }

func asTexts(args []any) []any {
	all := make([]any, len(args))
	for i, a := range args {
		all[i] = asText(a)
	}
	return all
}

// asText returns the value to encode as JSON for v: the text of an error or of a value with a String method, also inside
// lists and maps. Values with a marshaler of their own, and values of hclog's types, stay as they are.
func asText(v any) any {
	switch v := v.(type) {
	case nil, string, bool, int, int64, uint64, float64, []byte, hclog.Format, hclog.Hex, hclog.Octal, hclog.Binary, hclog.Quote, hclog.CapturedStacktrace:
		return v
	case error:
		return textOf(v, v.Error)
	case json.Marshaler, encoding.TextMarshaler:
		return v
	case fmt.Stringer:
		return textOf(v, v.String)
	}
	switch r := reflect.ValueOf(v); r.Kind() {
	case reflect.Slice, reflect.Array:
		list := make([]any, r.Len())
		for i := range list {
			list[i] = asText(r.Index(i).Interface())
		}
		return list
	case reflect.Map:
		texts := make(map[string]any, r.Len())
		for _, key := range r.MapKeys() {
			texts[fmt.Sprint(key.Interface())] = asText(r.MapIndex(key).Interface())
		}
		return texts
	case reflect.Struct:
		return structText(r)
	case reflect.Pointer:
		if r.IsNil() {
			return nil
		}
		return asText(r.Elem().Interface())
	}
	return v
}

// structText has the fields that JSON would have, under Go's names, and their values as texts.
func structText(r reflect.Value) any {
	fields := make(map[string]any, r.NumField())
	for i := range r.NumField() {
		if f := r.Type().Field(i); f.IsExported() {
			fields[f.Name] = asText(r.Field(i).Interface())
		}
	}
	return fields
}

// textOf calls text, which may not be made for a nil pointer.
func textOf(v any, text func() string) any {
	if r := reflect.ValueOf(v); r.Kind() == reflect.Pointer && r.IsNil() {
		return nil
	}
	return text()
}

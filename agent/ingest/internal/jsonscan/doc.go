// Package jsonscan checks JSON and walks over it without decoding it, so that stored numbers keep all their digits and
// stored objects keep the order of their keys.
//
// # Contract
//
// Valid accepts exactly the inputs that encoding/json.Valid accepts, up to the same nesting depth of 10,000, and reports
// the offset of the first byte that cannot continue a value. It does not recurse and does not allocate up to a nesting
// depth of 64. A fuzz test compares it with encoding/json.
//
// All other functions require input for which Valid has returned true. They index without checking bounds, and they panic
// or return nonsense on other input. A value that one of them returns is a part of its input, not a copy, unless the
// function appends to a buffer.
//
// # Limits
//
// JSON texts are not required to be valid UTF-8 (encoding/json.Valid does not require it either); callers that need it
// check it themselves. Of a key that an object has several times, Member returns the last.
//
// # Why it exists
//
// encoding/json.Valid took more time than the rest of an append, and encoding/json reports no offset without decoding.
// When encoding/json/v2's jsontext is stable, it replaces this package.
package jsonscan

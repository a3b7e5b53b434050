package fakeaws

import "slices"

// Fault is the failure of one request. The zero Fault is none.
type Fault struct {
	refuse *apiError // the request as a whole; nothing is stored
	early  bool      // refuse before the body was read

	failed  []int // records that are not stored
	failure apiError

	ending  ending
	garbage string
	results int    // added to the number of results
	unnamed bool   // results have neither a stored record's ID nor an error
	hidden  int    // added to the count of failures
	arrived func() // called before the silence
}

// ending is how the reply ends.
type ending int

const (
	whole ending = iota
	cutBefore
	cutWithin
	silent
	garbage
	blank
)

// FailRecords makes the records at indexes (from 0) of the next request fail with code and text;
// the others are stored.
func FailRecords(code, text string, indexes ...int) Fault {
	return Fault{failed: indexes, failure: apiError{status: 200, code: code, text: text}}
}

// Refuse answers the request with an error of the service; nothing is stored.
func Refuse(status int, code, text string) Fault {
	return Fault{refuse: &apiError{status: status, code: code, text: text}}
}

// RefuseEarly is Refuse before the request's body was read.
func RefuseEarly(status int, code, text string) Fault {
	f := Refuse(status, code, text)
	f.early = true
	return f
}

// RefuseAndWait is Refuse with a Retry-After of so many seconds.
func RefuseAndWait(status int, code, text string, seconds int64) Fault {
	f := Refuse(status, code, text)
	f.refuse.wait = seconds
	return f
}

// Throttle answers as a service does whose limits are exceeded; nothing is stored.
func Throttle() Fault {
	return Refuse(400, "ProvisionedThroughputExceededException", "Rate exceeded")
}

// CutBefore closes the connection with nothing stored and no answer.
func CutBefore() Fault { return Fault{ending: cutBefore} }

// CutWithin stores the records and closes the connection in the middle of the reply.
func CutWithin() Fault { return Fault{ending: cutWithin} }

// Silent stores the records and never answers.
func Silent() Fault { return Fault{ending: silent} }

// Hang is Silent, and calls arrived once the records are stored.
func Hang(arrived func()) Fault { return Fault{ending: silent, arrived: arrived} }

// Garbage stores the records and answers 200 with a body that is no JSON.
func Garbage() Fault { return Fault{ending: garbage, garbage: "<html>Welcome to Hotel WiFi</html>"} }

// Blank stores the records and answers 200 with an empty body.
func Blank() Fault { return Fault{ending: blank} }

// MoreResults stores the records and answers with n results more than records, or fewer.
func MoreResults(n int) Fault { return Fault{results: n} }

// Unnamed stores the records and answers with results that have neither an id nor an error code.
func Unnamed() Fault { return Fault{unnamed: true} }

// Miscount stores the records and counts n failures more than the results show.
func Miscount(n int) Fault { return Fault{hidden: n} }

func (f *Fault) fails(index int) bool { return slices.Contains(f.failed, index) }

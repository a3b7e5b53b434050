package s3

import (
	"context"
	"net/http"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/ranged"
)

// # No event is in two objects
//
// Invariant: as long as it is unknown whether an event is in an object, every request that can create an object with that
// event names the same key, and that key is in the stored state.
//
// It holds because of this order:
//
//  1. Only PutObject and CompleteMultipartUpload create objects, and only Commit sends them. Commit runs after Seal's state
//     was synced. So before an object of a range can exist, the state names its key and its attempts.
//  2. The next range begins only after it is known that the object exists: by the response to the request, or by
//     HeadObject. Then all events up to the last one of the object are settled, and no later range has them.
//  3. If that is unknown, because of a crash or a lost response, Recover looks the key up. If the object exists, its
//     metadata names the attempt, and the state has the attempt's last event. If it does not exist, a request of the crashed
//     process may still be under way, and may succeed later. So the events are written again under the same key, also if
//     the time or the settings have changed since. With If-None-Match only one of the requests succeeds.
//  4. If the new request loses, the response is 412. HeadObject then shows which attempt won. An attempt with the same end
//     is as good as this one. One with another end makes Recover settle the events of that attempt instead.
//
// The new attempt ends at the same event as the old one, so that a late request is harmless even at a service that ignores
// If-None-Match: it replaces the object by one with the same events.
//
// An object under the key that none of the attempts wrote is another writer's, for example an undetected copy of the log.
// Its events are unknown. Nothing is delivered then, and an operator has to look.
//
// Nothing is lost: events are settled only after a successful response to a request that held them, or after HeadObject
// showed an attempt that held them.

// codeExists is the code of the error for an object that another writer put under the key.
const codeExists = "ObjectExists"

// Commit finishes the encoder, uploads the rest, and makes the bytes an object.
func (s *Sink) Commit(ctx context.Context) (ranged.Outcome, *ranged.Error) {
	o := s.object
	if !o.ended {
		o.encoder.Finish()
		o.ended = true
	}
	code := "200"
	if err := o.upload.Commit(ctx); err != nil {
		var failed *ranged.Error
		if code, failed = s.resolve(ctx, err); failed != nil {
			return ranged.Outcome{}, failed
		}
	}
	outcome := ranged.Outcome{Requests: o.upload.Requests, Records: 1, BilledBytes: uint64(o.upload.Size), Code: code}
	s.object, s.again = nil, nil
	return outcome, nil
}

// resolve handles an error of Commit. It returns no error if the object exists nevertheless.
func (s *Sink) resolve(ctx context.Context, err error) (code string, _ *ranged.Error) {
	o := s.object
	failed := &ranged.Error{Error: *classify(err)}
	switch code := codeOf(err); {
	case code == "PreconditionFailed" || statusOf(err) == http.StatusPreconditionFailed:
	case code == "NoSuchUpload": // an earlier request completed it, or it was aborted from outside
		failed.Class, failed.Restart = shipper.Transient, true
	case code == "ConditionalRequestConflict" && o.upload.ID() != "", code == "InvalidPart", code == "EntityTooSmall":
		failed.Restart = true // the parts have to be uploaded again
		return "", failed
	default:
		return "", failed
	}
	o.upload.Requests++
	found, headErr := s.bucket.Head(ctx, o.Key)
	switch {
	case headErr != nil && statusOf(headErr) == http.StatusNotFound:
		return "", failed
	case headErr != nil:
		return "", &ranged.Error{Error: *classify(headErr)}
	}
	won, mine := o.find(found[metaAttempt])
	switch {
	case !mine:
		return "", &ranged.Error{Error: *foreign(o.Key)}
	case won.Last != o.last:
		failed.Class, failed.Restart = shipper.Transient, true
		return "", failed
	}
	if won.ID != o.latest().ID {
		s.discard(ctx, o)
	}
	return "412", nil
}

// foreign is the error for an object that none of the attempts wrote.
func foreign(key string) *shipper.Error {
	return &shipper.Error{Class: shipper.Operator, Code: codeExists, Record: -1,
		Text: "object " + key + " exists and is not of this log; remove it, or set another prefix"}
}

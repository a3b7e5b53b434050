package s3

import (
	"context"
	"fmt"
	"net/http"

	"github.com/standpipe/standpipe/shipper"
)

// Recover looks up the range of the stored state if its outcome is unknown, and aborts unfinished uploads.
func (s *Sink) Recover(ctx context.Context, from uint64, state []byte) (next uint64, _ *shipper.Error) {
	s.again = nil
	next = from
	stored := decodeSpan(state)
	if stored != nil && stored.last() >= from {
		last, err := s.lookUp(ctx, stored)
		if err != nil {
			return from, err
		}
		next = max(next, last+1)
	}
	if s.again != nil && s.again.UploadID != "" {
		if err := s.bucket.Abort(ctx, s.again.Key, s.again.UploadID); err != nil && statusOf(err) != http.StatusNotFound {
			s.searched = false
		}
	}
	if !s.searched {
		if err := s.abortUnfinished(ctx); err != nil {
			return from, err
		}
		s.searched = true
	}
	return next, nil
}

// lookUp returns the offset of the last event of the range's object. If the object does not exist, it returns 0, and the
// range is to be written again.
func (s *Sink) lookUp(ctx context.Context, stored *span) (last uint64, _ *shipper.Error) {
	if stored.Endpoint != s.o.AWS.Endpoint {
		s.o.Logger.Warn("outcome of the last object unknown: the endpoint has changed; its events are delivered again",
			"key", stored.Key, "bucket", stored.Bucket, "endpoint", stored.Endpoint)
		return 0, nil
	}
	bucket := *s.bucket
	bucket.Name = stored.Bucket
	found, err := bucket.Head(ctx, stored.Key)
	status := statusOf(err)
	switch {
	case err == nil:
		if won, mine := stored.find(found[metaAttempt]); mine {
			return won.Last, nil
		}
		return 0, foreign(stored.Key)
	case status != http.StatusNotFound && status != http.StatusForbidden:
		return 0, classify(err)
	case stored.Bucket == s.o.Bucket:
		s.again = stored
	case status == http.StatusForbidden:
		s.o.Logger.Warn("outcome of the last object unknown: the bucket has changed, and the old one cannot be read; its events are delivered again",
			"key", stored.Key, "bucket", stored.Bucket)
	}
	return 0, nil
}

// abortUnfinished aborts the unfinished uploads of this stream and log. Their parts cost money, and they are never
// completed. One that cannot be aborted stays, except if the service is unavailable.
func (s *Sink) abortUnfinished(ctx context.Context) *shipper.Error {
	var mine []string
	err := s.bucket.List(ctx, s.names.search(), func(key, id string) error {
		if !s.names.owns(key) {
			return nil
		}
		mine = append(mine, key)
		if err := s.bucket.Abort(ctx, key, id); err != nil && statusOf(err) != http.StatusNotFound {
			return fmt.Errorf("abort upload: %w", err)
		}
		return nil
	})
	if len(mine) > 0 {
		s.o.Logger.Info("unfinished uploads aborted", "bucket", s.o.Bucket, "uploads", len(mine), "first", mine[0])
	}
	if err == nil {
		return nil
	}
	failed := classify(err)
	if failed.Class != shipper.Operator || codeOf(err) == "NoSuchBucket" {
		return failed
	}
	s.o.Logger.Warn("unfinished uploads not aborted; they cost storage until a lifecycle rule removes them",
		"bucket", s.o.Bucket, "error", failed)
	return nil
}

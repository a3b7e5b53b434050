package upload

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// Upload is one object on its way to the bucket. It is not safe for concurrent use.
type Upload struct {
	Requests int   // so far
	Size     int64 // bytes written so far

	bucket *Bucket
	object Object
	buf    []byte // not uploaded yet
	id     string // of the multipart upload; "": none
	parts  []types.CompletedPart
}

// New returns an upload without bytes. It makes no request.
func New(b *Bucket, o Object) *Upload { return &Upload{bucket: b, object: o} }

// Write appends to the buffer. It never fails.
func (u *Upload) Write(p []byte) (int, error) {
	if need := len(u.buf) + len(p); need > cap(u.buf) && cap(u.buf) >= u.bucket.PartSize/4 {
		u.buf = slices.Grow(u.buf, max(need, u.bucket.PartSize+u.bucket.PartSize/8)-len(u.buf)) // the last growth in most cases
	}
	u.buf = append(u.buf, p...)
	u.Size += int64(len(p))
	return len(p), nil
}

// ID returns the ID of the multipart upload, or "" if there is none.
func (u *Upload) ID() string { return u.id }

// Full reports whether Flush has a part to upload.
func (u *Upload) Full() bool { return len(u.buf) > u.bucket.PartSize }

// Flush uploads the parts that the buffer is larger than. A part of exactly the buffer's size stays, because it may be
// the whole object. After an error Flush can be called again.
func (u *Upload) Flush(ctx context.Context) error {
	for u.Full() {
		if err := u.uploadPart(ctx, u.bucket.PartSize); err != nil {
			return err
		}
	}
	return nil
}

// uploadPart uploads the first n bytes of the buffer as the next part.
func (u *Upload) uploadPart(ctx context.Context, n int) error {
	if u.id == "" {
		u.Requests++
		id, err := u.bucket.create(ctx, u.object)
		if err != nil {
			return fmt.Errorf("create upload: %w", err)
		}
		u.id = id
	}
	u.Requests++
	part, err := u.bucket.uploadPart(ctx, u.object.Key, u.id, int32(len(u.parts)+1), u.buf[:n])
	if err != nil {
		return fmt.Errorf("upload part: %w", err)
	}
	u.parts = append(u.parts, part)
	u.buf = append(u.buf[:0], u.buf[n:]...)
	return nil
}

// Commit makes the bytes an object. It fails if the key exists. After an error it can be called again: the outcome of
// the last request may be unknown then.
func (u *Upload) Commit(ctx context.Context) error {
	if u.id == "" && !u.Full() {
		u.Requests++
		if err := u.bucket.put(ctx, u.object, u.buf); err != nil {
			return fmt.Errorf("put object: %w", err)
		}
		return nil
	}
	if err := u.Flush(ctx); err != nil {
		return err
	}
	if len(u.buf) > 0 {
		if err := u.uploadPart(ctx, len(u.buf)); err != nil {
			return err
		}
	}
	u.Requests++
	if err := u.bucket.complete(ctx, u.object.Key, u.id, u.parts); err != nil {
		return fmt.Errorf("complete upload: %w", err)
	}
	return nil
}

// SetMetadata adds metadata to an object that is not yet on its way. It has no effect on a multipart upload.
func (u *Upload) SetMetadata(name, value string) { u.object.Metadata[name] = value }

// Abort discards the object.
func (u *Upload) Abort(ctx context.Context) error {
	u.buf = nil
	if u.id == "" {
		return nil
	}
	return u.bucket.Abort(ctx, u.object.Key, u.id)
}

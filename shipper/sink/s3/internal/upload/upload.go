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
	chunks [][]byte // not uploaded yet: each one but the last has the size of a part
	held   int      // bytes in chunks
	id     string   // of the multipart upload; "": none
	parts  []types.CompletedPart
}

// leastChunk is the size that a chunk begins with, unless many parts come at once.
const leastChunk = 64 << 10

// New returns an upload without bytes. It makes no request.
func New(b *Bucket, o Object) *Upload { return &Upload{bucket: b, object: o} }

// Write appends to the buffer. It never fails.
func (u *Upload) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		last := len(u.chunks) - 1
		if last < 0 || len(u.chunks[last]) == u.bucket.PartSize {
			u.chunks = append(u.chunks, nil)
			last++
		}
		some := p[:min(len(p), u.bucket.PartSize-len(u.chunks[last]))]
		u.chunks[last] = append(u.grown(u.chunks[last], len(some)), some...)
		p = p[len(some):]
	}
	u.held += n
	u.Size += int64(n)
	return n, nil
}

// grown returns the last chunk with space for n more bytes. It is never larger than a part.
func (u *Upload) grown(c []byte, n int) []byte {
	if len(c)+n <= cap(c) {
		return c
	}
	size := max(2*cap(c), len(c)+n, leastChunk)
	if len(u.chunks) > 2 { // more than a part is written at once
		size = u.bucket.PartSize
	}
	return append(make([]byte, 0, min(size, u.bucket.PartSize)), c...)
}

// ID returns the ID of the multipart upload, or "" if there is none.
func (u *Upload) ID() string { return u.id }

// Full reports whether Flush has a part to upload.
func (u *Upload) Full() bool { return u.held > u.bucket.PartSize }

// Flush uploads the parts that the buffer is larger than. A part of exactly the buffer's size stays, because it may be
// the whole object. After an error Flush can be called again.
func (u *Upload) Flush(ctx context.Context) error {
	for u.Full() {
		if err := u.uploadPart(ctx); err != nil {
			return err
		}
	}
	return nil
}

// uploadPart uploads the first chunk as the next part.
func (u *Upload) uploadPart(ctx context.Context) error {
	if u.id == "" {
		u.Requests++
		id, err := u.bucket.create(ctx, u.object)
		if err != nil {
			return fmt.Errorf("create upload: %w", err)
		}
		u.id = id
	}
	u.Requests++
	c := u.chunks[0]
	part, err := u.bucket.uploadPart(ctx, u.object.Key, u.id, int32(len(u.parts)+1), c)
	if err != nil {
		return fmt.Errorf("upload part: %w", err)
	}
	u.parts = append(u.parts, part)
	u.held -= len(c)
	u.chunks = slices.Delete(u.chunks, 0, 1) // no reference to c remains
	if len(u.chunks) == 1 && cap(u.chunks[0]) < cap(c) {
		u.chunks[0] = append(c[:0], u.chunks[0]...)
	}
	return nil
}

// Commit makes the bytes an object. It fails if the key exists. After an error it can be called again: the outcome of
// the last request may be unknown then.
func (u *Upload) Commit(ctx context.Context) error {
	if u.id == "" && !u.Full() {
		u.Requests++
		if err := u.bucket.put(ctx, u.object, u.small()); err != nil {
			return fmt.Errorf("put object: %w", err)
		}
		return nil
	}
	if err := u.Flush(ctx); err != nil {
		return err
	}
	if u.held > 0 {
		if err := u.uploadPart(ctx); err != nil {
			return err
		}
	}
	u.Requests++
	if err := u.bucket.complete(ctx, u.object.Key, u.id, u.parts); err != nil {
		return fmt.Errorf("complete upload: %w", err)
	}
	return nil
}

// small returns the bytes of an object that is not larger than a part.
func (u *Upload) small() []byte {
	if len(u.chunks) == 0 {
		return nil
	}
	return u.chunks[0]
}

// SetMetadata adds metadata to an object that is not yet on its way. It has no effect on a multipart upload.
func (u *Upload) SetMetadata(name, value string) { u.object.Metadata[name] = value }

// Abort discards the object.
func (u *Upload) Abort(ctx context.Context) error {
	u.chunks, u.held = nil, 0
	if u.id == "" {
		return nil
	}
	return u.bucket.Abort(ctx, u.object.Key, u.id)
}

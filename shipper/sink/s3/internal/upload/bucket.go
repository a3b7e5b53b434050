package upload

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/standpipe/standpipe/shipper/sink/internal/awsclient"
)

// Bucket makes the requests to a bucket, one at a time and without retries. Its errors are the SDK's.
type Bucket struct {
	Client   *s3.Client
	Name     string
	PartSize int // bytes; at least 5 MiB, except in tests

	// Timeout ends a request that makes no progress for so long: no byte of the body goes out or is acknowledged, and no response
	// arrives. It does not limit the whole request, because a part takes minutes on a slow link. 0: none.
	Timeout time.Duration

	KMSKeyID     string // "": as the bucket is set up
	Tags         string // as in a URL's query; "": none
	StorageClass string // "": the bucket's default
}

// Object is the part of an object's attributes that depends on the range.
type Object struct {
	Key         string
	ContentType string
	Metadata    map[string]string
}

var onlyNew = "*" // If-None-Match: the request fails if the key exists

func (b *Bucket) put(ctx context.Context, o Object, body []byte) error {
	in := &s3.PutObjectInput{
		Bucket: &b.Name, Key: &o.Key, Body: bytes.NewReader(body), IfNoneMatch: &onlyNew,
		ContentType: &o.ContentType, Metadata: o.Metadata, Tagging: given(b.Tags), StorageClass: types.StorageClass(b.StorageClass),
	}
	if b.KMSKeyID != "" {
		in.ServerSideEncryption, in.SSEKMSKeyId = types.ServerSideEncryptionAwsKms, &b.KMSKeyID
	}
	_, err := call(ctx, b, b.Client.PutObject, in)
	return err
}

func (b *Bucket) create(ctx context.Context, o Object) (id string, err error) {
	in := &s3.CreateMultipartUploadInput{
		Bucket: &b.Name, Key: &o.Key,
		ContentType: &o.ContentType, Metadata: o.Metadata, Tagging: given(b.Tags), StorageClass: types.StorageClass(b.StorageClass),
	}
	if b.KMSKeyID != "" {
		in.ServerSideEncryption, in.SSEKMSKeyId = types.ServerSideEncryptionAwsKms, &b.KMSKeyID
	}
	if b.Client.Options().RequestChecksumCalculation != aws.RequestChecksumCalculationWhenRequired {
		in.ChecksumAlgorithm = types.ChecksumAlgorithmCrc32 // the parts' default; the service rejects parts with another
	}
	out, err := call(ctx, b, b.Client.CreateMultipartUpload, in)
	if err != nil {
		return "", err
	}
	return *out.UploadId, nil
}

func (b *Bucket) uploadPart(ctx context.Context, key, id string, number int32, body []byte) (types.CompletedPart, error) {
	out, err := call(ctx, b, b.Client.UploadPart, &s3.UploadPartInput{
		Bucket: &b.Name, Key: &key, UploadId: &id, PartNumber: &number, Body: bytes.NewReader(body),
	})
	if err != nil {
		return types.CompletedPart{}, err
	}
	return types.CompletedPart{ETag: out.ETag, PartNumber: &number, ChecksumCRC32: out.ChecksumCRC32}, nil
}

func (b *Bucket) complete(ctx context.Context, key, id string, parts []types.CompletedPart) error {
	_, err := call(ctx, b, b.Client.CompleteMultipartUpload, &s3.CompleteMultipartUploadInput{
		Bucket: &b.Name, Key: &key, UploadId: &id, IfNoneMatch: &onlyNew, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
	})
	return err
}

// Head returns the metadata of an object.
func (b *Bucket) Head(ctx context.Context, key string) (metadata map[string]string, err error) {
	out, err := call(ctx, b, b.Client.HeadObject, &s3.HeadObjectInput{Bucket: &b.Name, Key: &key})
	if err != nil {
		return nil, err
	}
	return out.Metadata, nil
}

// Abort ends an upload that is not completed. Its parts are removed.
func (b *Bucket) Abort(ctx context.Context, key, id string) error {
	_, err := call(ctx, b, b.Client.AbortMultipartUpload, &s3.AbortMultipartUploadInput{Bucket: &b.Name, Key: &key, UploadId: &id})
	return err
}

// List calls visit with the uploads that are neither completed nor aborted and whose keys begin with prefix, until visit
// returns an error.
func (b *Bucket) List(ctx context.Context, prefix string, visit func(key, id string) error) error {
	in := &s3.ListMultipartUploadsInput{Bucket: &b.Name, Prefix: &prefix}
	for {
		out, err := call(ctx, b, b.Client.ListMultipartUploads, in)
		if err != nil {
			return err
		}
		for _, u := range out.Uploads {
			if u.Key == nil || u.UploadId == nil {
				continue
			}
			if err := visit(*u.Key, *u.UploadId); err != nil {
				return err
			}
		}
		if out.IsTruncated == nil || !*out.IsTruncated || out.NextKeyMarker == nil {
			return nil
		}
		in.KeyMarker, in.UploadIdMarker = out.NextKeyMarker, out.NextUploadIdMarker
	}
}

// call makes one request.
func call[In, Out any](ctx context.Context, b *Bucket, request func(context.Context, In, ...func(*s3.Options)) (Out, error), in In) (Out, error) {
	if b.Timeout <= 0 {
		return request(ctx, in)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ctx, sent := awsclient.CountSent(ctx)
	defer watch(sent.Moved, b.Timeout, func() { cancel(errTimeout) })()
	out, err := request(ctx, in)
	if err != nil && errors.Is(context.Cause(ctx), errTimeout) {
		err = fmt.Errorf("no progress for %s: %w", b.Timeout, context.DeadlineExceeded)
	}
	return out, err
}

var errTimeout = errors.New("no progress")

// watch calls stop once moved has returned the same for the timeout. The returned function ends that.
func watch(moved func() int64, timeout time.Duration, stop func()) (end func()) {
	ended := make(chan struct{})
	go func() {
		tick := time.NewTicker(timeout)
		defer tick.Stop()
		for before := int64(0); ; {
			select {
			case <-ended:
				return
			case <-tick.C:
			}
			now := moved()
			if now == before {
				stop()
				return
			}
			before = now
		}
	}()
	return func() { close(ended) }
}

func given(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

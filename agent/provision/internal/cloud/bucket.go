package cloud

import (
	"context"
	"fmt"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/standpipe/standpipe/agent/provision/internal/wanted"
)

// homeRegion has buckets without a location.
const homeRegion = "us-east-1"

type bucket struct {
	at     *clients
	wanted wanted.Bucket
}

func (b *bucket) Kind() string        { return "S3 bucket" }
func (b *bucket) Name() string        { return b.wanted.Name }
func (b *bucket) Place() wanted.Place { return b.wanted.Place }
func (b *bucket) Settings() string {
	return list("encrypted", "not public", fmt.Sprintf("unfinished uploads end after %d days", wanted.AbortAfterDays))
}

// part is a setting of a bucket, with requests of its own.
type part struct {
	name, wanted string
	none         string // the code of AWS for a bucket without it
	read         func(context.Context) (string, error)
	set          func(context.Context) error
}

func (b *bucket) Read(ctx context.Context) (State, error) {
	// The name can be guessed. A bucket of another account with this name would get the events.
	_, err := b.at.s3.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &b.wanted.Name, ExpectedBucketOwner: &b.wanted.Account})
	switch status(err) {
	case http.StatusNotFound:
		return State{}, nil
	case http.StatusMovedPermanently:
		return State{Found: true, Differences: []Difference{{"region", "another", b.wanted.Region}}}, nil
	}
	if err != nil {
		return State{}, err
	}
	state := State{Found: true}
	for _, p := range b.parts() {
		have, err := p.read(ctx)
		if err != nil && !is(err, p.none) {
			return state, err
		}
		state.differs(p.name, have, p.wanted)
	}
	if len(state.Differences) == 0 {
		return state, nil
	}
	tags, err := b.at.s3.GetBucketTagging(ctx, &s3.GetBucketTaggingInput{Bucket: &b.wanted.Name})
	if is(err, "NoSuchTagSet") {
		return state, nil
	}
	if err != nil {
		return state, err
	}
	for _, t := range tags.TagSet {
		if aws.ToString(t.Key) == tag && aws.ToString(t.Value) == unfinished {
			return State{Found: true, Unfinished: true}, nil
		}
	}
	return state, nil
}

func (b *bucket) Create(ctx context.Context, have State) error {
	name := &b.wanted.Name
	if !have.Found {
		in := &s3.CreateBucketInput{Bucket: name, CreateBucketConfiguration: &types.CreateBucketConfiguration{
			Tags: []types.Tag{{Key: aws.String(tag), Value: aws.String(unfinished)}},
		}}
		if b.wanted.Region != homeRegion {
			in.CreateBucketConfiguration.LocationConstraint = types.BucketLocationConstraint(b.wanted.Region)
		}
		if _, err := b.at.s3.CreateBucket(ctx, in); err != nil {
			return err
		}
	}
	for _, p := range b.parts() {
		if err := p.set(ctx); err != nil {
			return err
		}
	}
	_, err := b.at.s3.PutBucketTagging(ctx, &s3.PutBucketTaggingInput{Bucket: name, Tagging: &types.Tagging{
		TagSet: []types.Tag{{Key: aws.String(tag), Value: aws.String(finished)}},
	}})
	return err
}

func (b *bucket) parts() []part {
	name := &b.wanted.Name
	return []part{
		{
			name: "public access", wanted: "blocked", none: "NoSuchPublicAccessBlockConfiguration",
			read: func(ctx context.Context) (string, error) {
				out, err := b.at.s3.GetPublicAccessBlock(ctx, &s3.GetPublicAccessBlockInput{Bucket: name})
				if err != nil || out.PublicAccessBlockConfiguration == nil {
					return "not blocked", err
				}
				c := out.PublicAccessBlockConfiguration
				if aws.ToBool(c.BlockPublicAcls) && aws.ToBool(c.BlockPublicPolicy) && aws.ToBool(c.IgnorePublicAcls) && aws.ToBool(c.RestrictPublicBuckets) {
					return "blocked", nil
				}
				return "partly blocked", nil
			},
			set: func(ctx context.Context) error {
				_, err := b.at.s3.PutPublicAccessBlock(ctx, &s3.PutPublicAccessBlockInput{Bucket: name, PublicAccessBlockConfiguration: &types.PublicAccessBlockConfiguration{
					BlockPublicAcls: aws.Bool(true), BlockPublicPolicy: aws.Bool(true), IgnorePublicAcls: aws.Bool(true), RestrictPublicBuckets: aws.Bool(true),
				}})
				return err
			},
		},
		{
			name: "encryption", wanted: "on", none: "ServerSideEncryptionConfigurationNotFoundError",
			read: func(ctx context.Context) (string, error) {
				out, err := b.at.s3.GetBucketEncryption(ctx, &s3.GetBucketEncryptionInput{Bucket: name})
				if err != nil || out.ServerSideEncryptionConfiguration == nil || len(out.ServerSideEncryptionConfiguration.Rules) == 0 {
					return "none", err
				}
				return "on", nil // with any key
			},
			set: func(ctx context.Context) error {
				_, err := b.at.s3.PutBucketEncryption(ctx, &s3.PutBucketEncryptionInput{Bucket: name, ServerSideEncryptionConfiguration: &types.ServerSideEncryptionConfiguration{
					Rules: []types.ServerSideEncryptionRule{{ApplyServerSideEncryptionByDefault: &types.ServerSideEncryptionByDefault{SSEAlgorithm: types.ServerSideEncryptionAes256}}},
				}})
				return err
			},
		},
		{
			name: "lifecycle of unfinished uploads", wanted: "ends them", none: "NoSuchLifecycleConfiguration",
			read: func(ctx context.Context) (string, error) {
				out, err := b.at.s3.GetBucketLifecycleConfiguration(ctx, &s3.GetBucketLifecycleConfigurationInput{Bucket: name})
				if err != nil {
					return "none", err
				}
				for _, rule := range out.Rules {
					if rule.Status == types.ExpirationStatusEnabled && rule.AbortIncompleteMultipartUpload != nil {
						return "ends them", nil // after any number of days
					}
				}
				return "none", nil
			},
			set: func(ctx context.Context) error {
				_, err := b.at.s3.PutBucketLifecycleConfiguration(ctx, &s3.PutBucketLifecycleConfigurationInput{Bucket: name, LifecycleConfiguration: &types.BucketLifecycleConfiguration{
					Rules: []types.LifecycleRule{{
						ID: aws.String("unfinished-uploads"), Status: types.ExpirationStatusEnabled, Filter: &types.LifecycleRuleFilter{Prefix: aws.String("")},
						AbortIncompleteMultipartUpload: &types.AbortIncompleteMultipartUpload{DaysAfterInitiation: aws.Int32(wanted.AbortAfterDays)},
					}},
				}})
				return err
			},
		},
	}
}

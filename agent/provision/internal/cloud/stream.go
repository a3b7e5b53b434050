package cloud

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/standpipe/standpipe/agent/provision/internal/wanted"
)

// KindStream is the kind of a Kinesis stream.
const KindStream = "Kinesis stream"

// kinesisKey is the key of AWS that encrypts streams. It costs nothing, and producers need no right for it.
const kinesisKey = "alias/aws/kinesis"

type stream struct {
	at     *clients
	wanted wanted.Stream
}

func (s *stream) Kind() string        { return KindStream }
func (s *stream) Name() string        { return s.wanted.Name }
func (s *stream) Place() wanted.Place { return s.wanted.Place }
func (s *stream) Settings() string    { return list(capacity(s.wanted.Shards), "encrypted") }

// Shards returns the shards of a stream that is wanted with a fixed number of them, or 0, and whether r is a Kinesis stream.
func Shards(r Resource) (int64, bool) {
	s, ok := r.(*stream)
	if !ok {
		return 0, false
	}
	return s.wanted.Shards, true
}

func capacity(shards int64) string {
	switch shards {
	case 0:
		return "on demand"
	case 1:
		return "1 shard"
	}
	return fmt.Sprintf("%d shards", shards)
}

func (s *stream) Read(ctx context.Context) (State, error) {
	summary, err := s.describe(ctx)
	if is(err, "ResourceNotFoundException") {
		return State{}, nil
	}
	if err != nil {
		return State{}, err
	}
	status := summary.StreamStatus
	state := State{Found: true, Unfinished: status == types.StreamStatusCreating || status == types.StreamStatusDeleting}
	shards := int64(aws.ToInt32(summary.OpenShardCount))
	if summary.StreamModeDetails != nil && summary.StreamModeDetails.StreamMode == types.StreamModeOnDemand {
		shards = 0
	}
	state.differs("capacity", capacity(shards), capacity(s.wanted.Shards))
	if summary.EncryptionType == types.EncryptionTypeKms {
		return state, nil
	}
	tags, err := s.at.kinesis.ListTagsForStream(ctx, &kinesis.ListTagsForStreamInput{StreamName: &s.wanted.Name})
	if err != nil {
		return state, err
	}
	for _, t := range tags.Tags {
		state.Unfinished = state.Unfinished || aws.ToString(t.Key) == tag && aws.ToString(t.Value) == unfinished
	}
	if !state.Unfinished {
		state.differs("encryption", "none", kinesisKey)
	}
	return state, nil
}

func (s *stream) describe(ctx context.Context) (*types.StreamDescriptionSummary, error) {
	out, err := s.at.kinesis.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: &s.wanted.Name})
	if err != nil {
		return nil, err
	}
	return out.StreamDescriptionSummary, nil
}

func (s *stream) Create(ctx context.Context, have State) error {
	if !have.Found {
		in := &kinesis.CreateStreamInput{
			StreamName: &s.wanted.Name, Tags: map[string]string{tag: unfinished},
			StreamModeDetails: &types.StreamModeDetails{StreamMode: types.StreamModeOnDemand},
		}
		if s.wanted.Shards > 0 {
			in.StreamModeDetails.StreamMode = types.StreamModeProvisioned
			in.ShardCount = aws.Int32(int32(s.wanted.Shards))
		}
		if _, err := s.at.kinesis.CreateStream(ctx, in); err != nil {
			return err
		}
	}
	if err := s.active(ctx, have); err != nil {
		return err
	}
	if have.Found { // a stream of others that was in creation when Read found it has no tag, and stays as it is
		if now, err := s.Read(ctx); err != nil || !now.Unfinished {
			return err
		}
	}
	_, err := s.at.kinesis.StartStreamEncryption(ctx, &kinesis.StartStreamEncryptionInput{
		StreamName: &s.wanted.Name, EncryptionType: types.EncryptionTypeKms, KeyId: aws.String(kinesisKey),
	})
	if err != nil {
		return err
	}
	if err := s.active(ctx, have); err != nil {
		return err
	}
	_, err = s.at.kinesis.AddTagsToStream(ctx, &kinesis.AddTagsToStreamInput{StreamName: &s.wanted.Name, Tags: map[string]string{tag: finished}})
	return err
}

// active waits until the stream takes records and changes. have is the state before its creation.
func (s *stream) active(ctx context.Context, have State) error {
	return s.at.until(ctx, activeWithin, func(ctx context.Context) error {
		now, err := s.describe(ctx)
		if err != nil {
			return unseen(err, have)
		}
		if now.StreamStatus == types.StreamStatusActive {
			return nil
		}
		return inState(string(now.StreamStatus))
	})
}

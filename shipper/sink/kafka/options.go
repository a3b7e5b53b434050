package kafka

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kversion"
	"github.com/twmb/franz-go/pkg/sasl"
	saslaws "github.com/twmb/franz-go/pkg/sasl/aws"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/standpipe/standpipe/shipper"
	"github.com/standpipe/standpipe/shipper/sink"
	"github.com/standpipe/standpipe/shipper/sink/internal/awsclient"
	"github.com/standpipe/standpipe/shipper/sink/internal/dial"
	"github.com/standpipe/standpipe/wal"
)

const (
	batchRecords   = 20_000  // of a Send
	maxBatch       = 8 << 20 // bytes of a Send
	aimBatch       = 1 << 20
	defaultTimeout = 30 * time.Second

	overhead       = 2 * time.Second // of a request, beside its timeout
	requestRetries = 2               // of requests other than Produce
)

// Options configures a Kafka destination.
type Options struct {
	Brokers     []string // host:port
	Topic       string
	Stream      string       // of the events; part of their IDs
	Branches    []wal.Branch // the beginnings of the events' IDs
	Compression string       // none, gzip, snappy, lz4 or zstd; "": none
	SASL        SASL
	TLS         *TLS // nil: plaintext
	Envelope    *shipper.Envelope
	// Timeout bounds one request. 0: 30 s.
	Timeout time.Duration
	AWS     sink.AWS // for the mechanism AWS_MSK_IAM
}

// SASL is the login at the brokers. Its files are read at each login.
type SASL struct {
	Mechanism    string // PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER or AWS_MSK_IAM; "": no login
	Username     string
	PasswordFile string
	TokenFile    string
}

// Shape returns the limits of the destination, with the brokers' defaults.
func (o Options) Shape() shipper.Shape { return o.shape(brokersDefault) }

// shape returns the shape for a topic that takes batches of limit bytes.
func (o Options) shape(limit int) shipper.Shape {
	id := encoder{stream: o.Stream, branches: o.Branches}
	record := max(min(limit, mostBytes)-headerSize-recordOverhead-id.idHeaderSize(), leastBytes/2)
	return shipper.Shape{
		Framing: shipper.FramingNone, OneKey: true, KeyRuns: true, RecordEvents: 1, KeyCounts: true, HeaderBytes: headerOverhead,
		MaxRecord: record, AimRecord: record, BatchRecords: batchRecords, MaxBatch: max(maxBatch, record), AimBatch: aimBatch,
		BilledStep: 1, Envelope: o.Envelope,
	}
}

// encoder returns the encoder of record batches.
func (o Options) encoder() (*encoder, error) {
	e := &encoder{branches: o.Branches, stream: o.Stream}
	codecs := map[string]kgo.CompressionCodec{
		"gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	if o.Compression == "" || o.Compression == "none" {
		return e, nil
	}
	codec, known := codecs[o.Compression]
	if !known {
		return nil, fmt.Errorf("kafka: unknown compression %q", o.Compression)
	}
	compressor, err := kgo.DefaultCompressor(codec)
	if err != nil {
		return nil, fmt.Errorf("kafka: compression: %w", err)
	}
	e.compressor = compressor
	return e, nil
}

// client returns a client of the cluster. It opens no connection.
func (o Options) client(ctx context.Context, more ...kgo.Opt) (*kgo.Client, error) {
	switch {
	case len(o.Brokers) == 0:
		return nil, errors.New("kafka: no broker is named")
	case o.Topic == "":
		return nil, errors.New("kafka: no topic is named")
	}
	opts := []kgo.Opt{
		kgo.SeedBrokers(o.Brokers...),
		kgo.ClientID("standpipe"),
		kgo.MaxVersions(versions()),
		kgo.RequestTimeoutOverhead(overhead),
		kgo.RequestRetries(requestRetries),
		kgo.RetryTimeout(lookTimeout),
		kgo.RetryBackoffFn(func(failures int) time.Duration { return min(20*time.Millisecond<<min(failures, 6), time.Second) }),
		kgo.MetadataMinAge(retryPause),
		kgo.DisableIdempotentWrite(), // of the client's own producer, which is not used
		kgo.DisableClientMetrics(),
	}
	if o.TLS == nil {
		opts = append(opts, kgo.Dialer(new(dial.Dialer).DialContext))
	} else {
		if _, err := o.TLS.config(); err != nil {
			return nil, fmt.Errorf("kafka: %w", err)
		}
		opts = append(opts, kgo.Dialer((&secureDialer{tls: o.TLS}).dial))
	}
	opts = append(opts, more...)
	if err := kgo.ValidateOpts(opts...); err != nil { // before the login acquires anything
		return nil, fmt.Errorf("kafka: %w", err)
	}
	login, err := o.login(ctx)
	if err != nil {
		return nil, err
	}
	client, err := kgo.NewClient(append(opts, login...)...)
	if err != nil {
		return nil, fmt.Errorf("kafka: %w", err)
	}
	return client, nil
}

// versions returns the newest versions of the requests that this package fills in. Produce and Fetch requests of version
// 13 have topic IDs; transactions of version 2 begin with Produce 12 and EndTxn 5.
func versions() *kversion.Versions {
	v := kversion.Stable()
	for key, most := range map[int16]int16{
		0:  11, // Produce
		22: 5,  // InitProducerID
		24: 3,  // AddPartitionsToTxn
		25: 3,  // AddOffsetsToTxn
		26: 4,  // EndTxn
		28: 3,  // TxnOffsetCommit
		9:  8,  // OffsetFetch
		1:  12, // Fetch
	} {
		v.SetMaxKeyVersion(key, most)
	}
	return v
}

// login returns the options for the login.
func (o Options) login(ctx context.Context) ([]kgo.Opt, error) {
	if o.SASL.Mechanism == "AWS_MSK_IAM" {
		cfg, err := awsclient.Config(ctx, o.AWS)
		if err != nil {
			return nil, err
		}
		return []kgo.Opt{kgo.SASL(saslaws.ManagedStreamingIAM(iam(cfg.Credentials))), kgo.WithHooks(leased{cfg.HTTPClient})}, nil
	}
	mechanism, err := o.mechanism()
	if mechanism == nil || err != nil {
		return nil, err
	}
	return []kgo.Opt{kgo.SASL(mechanism)}, nil
}

// leased releases the configuration of a client's credentials when the client is closed.
type leased struct{ http aws.HTTPClient }

func (l leased) OnClientClosed(*kgo.Client) { awsclient.Release(l.http) }

// mechanism returns the login without AWS; nil: none.
func (o Options) mechanism() (sasl.Mechanism, error) {
	login := o.SASL
	switch login.Mechanism {
	case "":
		return nil, nil
	case "PLAIN":
		return plain.Plain(func(context.Context) (plain.Auth, error) {
			password, err := secret(login.PasswordFile)
			return plain.Auth{User: login.Username, Pass: password}, err
		}), nil
	case "SCRAM-SHA-256", "SCRAM-SHA-512":
		auth := func(context.Context) (scram.Auth, error) {
			password, err := secret(login.PasswordFile)
			return scram.Auth{User: login.Username, Pass: password}, err
		}
		if login.Mechanism == "SCRAM-SHA-256" {
			return scram.Sha256(auth), nil
		}
		return scram.Sha512(auth), nil
	case "OAUTHBEARER":
		return oauth.Oauth(func(context.Context) (oauth.Auth, error) {
			token, err := secret(login.TokenFile)
			return oauth.Auth{Token: token}, err
		}), nil
	}
	return nil, fmt.Errorf("kafka: unknown mechanism %q", login.Mechanism)
}

// iam returns the credentials of AWS for a login.
func iam(provider aws.CredentialsProvider) func(context.Context) (saslaws.Auth, error) {
	return func(ctx context.Context) (saslaws.Auth, error) {
		c, err := provider.Retrieve(ctx)
		if err != nil {
			return saslaws.Auth{}, &credentialsError{err}
		}
		return saslaws.Auth{AccessKey: c.AccessKeyID, SecretKey: c.SecretAccessKey, SessionToken: c.SessionToken, UserAgent: "standpipe"}, nil
	}
}

// secret reads a file with a password or token.
func secret(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", &credentialsError{err}
	}
	if s := strings.TrimSpace(string(text)); s != "" {
		return s, nil
	}
	return "", &credentialsError{fmt.Errorf("%s is empty", path)}
}

package cloud

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch/schemas"
	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/servicequotas"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/transport/http/protocol/awsquery"

	"github.com/standpipe/standpipe/agent/provision/internal/wanted"
)

// The attempts of one request. The SDK waits between them, up to 20 s. CloudWatch takes three alarms a second (Amazon CloudWatch User
// Guide, service quotas of PutMetricAlarm), and a plan may have hundreds, so throttled requests are common there.
const (
	attempts      = 6
	alarmAttempts = 12
)

// Cloud makes clients of AWS. It may be used by several goroutines.
type Cloud struct {
	Poll time.Duration // between two looks at a resource that AWS is creating; 0: 3 s
	HTTP *http.Client  // nil: the SDK's

	mu      sync.Mutex
	clients map[wanted.Place]*clients // guarded by mu
}

// clients are those of one place.
type clients struct {
	poll     time.Duration
	kinesis  *kinesis.Client
	firehose *firehose.Client
	s3       *s3.Client
	iam      *iam.Client
	watch    *cloudwatch.Client
	quotas   *servicequotas.Client

	alarms alarmList
}

// Region returns the region of the environment or of the profile. It returns an error if there is none.
func (c *Cloud) Region(ctx context.Context, profile string) (string, error) {
	cfg, err := c.load(ctx, wanted.Place{Profile: profile})
	if err != nil {
		return "", err
	}
	if cfg.Region == "" {
		return "", errors.New("no region: set it in the aws block of the file, or in AWS_REGION")
	}
	return cfg.Region, nil
}

// Account returns the number of the account of the credentials.
func (c *Cloud) Account(ctx context.Context, p wanted.Place) (string, error) {
	cfg, err := c.load(ctx, p)
	if err != nil {
		return "", err
	}
	out, err := sts.NewFromConfig(cfg).GetCallerIdentity(ctx, nil)
	if err != nil {
		return "", faultOf("the account", "", err)
	}
	return aws.ToString(out.Account), nil
}

func (c *Cloud) load(ctx context.Context, p wanted.Place) (aws.Config, error) {
	cfg, err := config.LoadDefaultConfig(ctx, func(o *config.LoadOptions) error {
		o.Region, o.SharedConfigProfile = p.Region, p.Profile
		o.Retryer = func() aws.Retryer { return retry.AddWithMaxAttempts(retry.NewStandard(), attempts) }
		return nil
	})
	if err != nil {
		return cfg, fmt.Errorf("load aws configuration: %w", err)
	}
	if c.HTTP != nil {
		cfg.HTTPClient = c.HTTP
	}
	return cfg, nil
}

// at returns the clients of a place.
func (c *Cloud) at(ctx context.Context, p wanted.Place) (*clients, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if have := c.clients[p]; have != nil {
		return have, nil
	}
	cfg, err := c.load(ctx, p)
	if err != nil {
		return nil, err
	}
	own := func(base **string) { // of the destination's service
		if p.Endpoint != "" {
			*base = &p.Endpoint
		}
	}
	made := &clients{
		poll:     c.Poll,
		kinesis:  kinesis.NewFromConfig(cfg, func(o *kinesis.Options) { own(&o.BaseEndpoint) }),
		firehose: firehose.NewFromConfig(cfg, func(o *firehose.Options) { own(&o.BaseEndpoint) }),
		// a service with an address of its own has no host for each bucket
		s3:  s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = o.BaseEndpoint != nil }),
		iam: iam.NewFromConfig(cfg),
		// CloudWatch has two more protocols; its stand-ins have this one only
		watch: cloudwatch.NewFromConfig(cfg, func(o *cloudwatch.Options) {
			o.Protocol = awsquery.New(schemas.GraniteServiceVersion20100801)
			o.Retryer = retry.AddWithMaxAttempts(retry.NewStandard(), alarmAttempts)
		}),
		// a quota that cannot be read is only a note
		quotas: servicequotas.NewFromConfig(cfg, func(o *servicequotas.Options) { o.Retryer = retry.AddWithMaxAttempts(retry.NewStandard(), 2) }),
	}
	if made.poll == 0 {
		made.poll = 3 * time.Second
	}
	if c.clients == nil {
		c.clients = make(map[wanted.Place]*clients)
	}
	c.clients[p] = made
	return made, nil
}

// The longest waits.
const (
	activeWithin = 15 * time.Minute
	knownWithin  = 3 * time.Minute
)

// notYet is the error of a look at a resource that may become usable.
type notYet struct{ err error }

func (e notYet) Error() string { return e.err.Error() }
func (e notYet) Unwrap() error { return e.err }

// until calls look at intervals until it returns nil or an error that is not notYet. A throttled look is repeated like one that
// returns notYet. After the longest wait, until returns the last of these errors.
func (c *clients) until(ctx context.Context, longest time.Duration, look func(context.Context) error) error {
	waiting, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	var last error
	for {
		err := look(waiting)
		switch {
		case err == nil:
			return nil
		case errors.As(err, new(notYet)) || throttled(err):
			last = err
		case waiting.Err() == nil || last == nil:
			return err
		}
		select {
		case <-waiting.Done():
			if ctx.Err() != nil {
				return fmt.Errorf("interrupted: %w", last)
			}
			return fmt.Errorf("%w, still after %v; run the command again to wait on", last, longest)
		case <-time.After(c.poll):
		}
	}
}

// inState returns the error of a look that has found a stream in a state other than ACTIVE. Kinesis and Firehose use the same words.
func inState(state string) error {
	if state == "DELETING" {
		return errors.New("the state is DELETING: run the command again once it is deleted")
	}
	return notYet{errors.New("the state is " + state)}
}

// unseen returns the error of a look. have is the state before the creation: AWS may show a new stream after a while only.
func unseen(err error, have State) error {
	if !have.Found && is(err, "ResourceNotFoundException") {
		return notYet{err}
	}
	return err
}

// State is a resource as AWS has it.
type State struct {
	Found       bool
	Unfinished  bool // an earlier Create was interrupted, or AWS is still creating or deleting it
	Differences []Difference
}

// Difference is a setting of an existing resource that is not as wanted.
type Difference struct {
	Setting string `json:"setting"`
	Have    string `json:"have"`
	Want    string `json:"want"`
}

func (s *State) differs(setting, have, want string) {
	if have != want {
		s.Differences = append(s.Differences, Difference{setting, have, want})
	}
}

// Resource is one thing in AWS. Its methods may be called by several goroutines, for different resources.
type Resource interface {
	Kind() string // for people
	Name() string
	Settings() string // as wanted, for people
	Place() wanted.Place
	// The first Read may be older than the call: alarms are listed once. Later ones are not.
	Read(context.Context) (State, error)
	// Create creates a resource that Read has not found, or finishes it, and waits until it is usable. An alarm that was
	// created since Read is overwritten, and so may be the settings of a bucket.
	Create(context.Context, State) error
}

// Resources returns the resources of a set in the order of their creation: one needs only earlier ones.
func (c *Cloud) Resources(ctx context.Context, set wanted.Set) (list []Resource, err error) {
	add := func(p wanted.Place, make func(*clients) Resource) {
		at, e := c.at(ctx, p)
		if e != nil {
			err = errors.Join(err, e)
			return
		}
		list = append(list, make(at))
	}
	for _, s := range set.Streams {
		add(s.Place, func(at *clients) Resource { return &stream{at, s} })
	}
	for _, b := range set.Buckets {
		add(b.Place, func(at *clients) Resource { return &bucket{at, b} })
	}
	for _, d := range set.Deliveries {
		add(d.Place, func(at *clients) Resource { return &role{at, d} })
	}
	for _, d := range set.Deliveries {
		add(d.Place, func(at *clients) Resource { return &delivery{at, d} })
	}
	for _, a := range set.Alarms {
		add(a.Place, func(at *clients) Resource { return &alarm{at: at, wanted: a} })
	}
	return list, err
}

// The tag of resources that take several requests. "standpipe:" is no prefix that AWS reserves.
const (
	tag        = "standpipe:provision"
	unfinished = "unfinished"
	finished   = "finished"
)

// list joins words for people.
func list(words ...string) string {
	return strings.Join(words, ", ")
}

package awsclient

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/endpointcreds"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/standpipe/standpipe/shipper/sink"
)

// Settings of the HTTP connections to a service.
const (
	dialTimeout = 10 * time.Second
	keepAlive   = 30 * time.Second
	idleTimeout = 50 * time.Second // below the 60 s after which load balancers commonly close idle connections
	// idlePerHost is the number of idle connections that are kept. A destination has at most one request in flight for each
	// of the 64 lanes, and many destinations may share the connections. The one that was used last is used first, so
	// connections that are not needed end after idleTimeout.
	idlePerHost   = 1024
	defaultRegion = "us-east-1"
)

// readConfig reads the configuration of a client, and returns its HTTP client too.
func readConfig(ctx context.Context, o sink.AWS) (aws.Config, wholeReply, error) {
	options := loadOptions(o)
	cfg, err := load(ctx, o, options)
	if err != nil {
		return aws.Config{}, wholeReply{}, err
	}
	source := &credentialsSource{provider: cfg.Credentials, load: func(ctx context.Context) (aws.CredentialsProvider, error) {
		again, err := load(ctx, o, options)
		return again.Credentials, err
	}}
	cfg.Credentials = source
	cfg.APIOptions = append(cfg.APIOptions, source.watch)
	if o.Endpoint != "" {
		cfg.BaseEndpoint = aws.String(o.Endpoint)
	}
	// The shipper owns the retries: two loops would multiply.
	cfg.Retryer = func() aws.Retryer { return aws.NopRetryer{} }
	client, ok := cfg.HTTPClient.(*awshttp.BuildableClient) // with the environment's CA bundle
	if !ok {
		return aws.Config{}, wholeReply{}, fmt.Errorf("build http client: from %T", cfg.HTTPClient)
	}
	return cfg, newWholeReply(serviceClient(client)), nil
}

// load reads the environment and the shared files.
func load(ctx context.Context, o sink.AWS, options []func(*config.LoadOptions) error) (aws.Config, error) {
	cfg, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return cfg, fmt.Errorf("load aws configuration: %w", err)
	}
	if cfg.Region == "" && o.Endpoint != "" {
		cfg.Region = defaultRegion
	}
	if o.RoleARN != "" {
		role := stscreds.NewAssumeRoleProvider(sts.NewFromConfig(cfg), o.RoleARN, func(role *stscreds.AssumeRoleOptions) {
			role.RoleSessionName = o.SessionName
			if o.ExternalID != "" {
				role.ExternalID = aws.String(o.ExternalID)
			}
		})
		cfg.Credentials = aws.NewCredentialsCache(role)
	}
	return cfg, nil
}

func loadOptions(o sink.AWS) []func(*config.LoadOptions) error {
	client := credentialsClient()
	load := []func(*config.LoadOptions) error{
		config.WithHTTPClient(client),
		config.WithEndpointCredentialOptions(func(e *endpointcreds.Options) { e.HTTPClient = client }), // else the SDK's own
	}
	if o.Region != "" {
		load = append(load, config.WithRegion(o.Region))
	}
	if o.Profile != "" {
		load = append(load, config.WithSharedConfigProfile(o.Profile))
	}
	if o.Credentials != nil {
		load = append(load, config.WithCredentialsProvider(o.Credentials))
	}
	return load
}

// httpClient returns a client without a limit of open connections, so that no destination waits for those of another one
// that shares it. It uses HTTP/1.1 only: HTTP/2 would put all lanes on one connection, where a lost packet or a slow
// request stops them all.
func httpClient() *awshttp.BuildableClient {
	return awshttp.NewBuildableClient().
		WithDialerOptions(func(d *net.Dialer) {
			d.Timeout = dialTimeout
			d.KeepAlive = keepAlive
		}).
		WithTransportOptions(func(t *http.Transport) {
			t.ForceAttemptHTTP2 = false
			t.Protocols = new(http.Protocols)
			t.Protocols.SetHTTP1(true)
			t.TLSClientConfig.NextProtos = []string{"http/1.1"} // else the h2 that the SDK's transport had set up stays offered
			t.MaxIdleConns = idlePerHost
			t.MaxIdleConnsPerHost = idlePerHost
			t.IdleConnTimeout = idleTimeout
		})
}

// Within bounds ctx by the timeout of one request; 0 is none.
func Within(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	if timeout <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, timeout)
}

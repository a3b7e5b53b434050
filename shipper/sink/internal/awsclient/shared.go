package awsclient

import (
	"cmp"
	"context"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"

	"github.com/standpipe/standpipe/shipper/sink"
)

// settings determine a configuration, apart from the files that it is read from.
type settings struct {
	aws         sink.AWS // without the timeout, which each destination has of its own
	environment string
}

// shared is a configuration in use. Its destinations have one HTTP client, one pool of CA certificates and one cache of
// credentials.
type shared struct {
	cfg   aws.Config
	http  wholeReply
	files []version // that cfg was read from, when it was read

	from  settings
	users int // leases that are not released; guarded by registry.mu
}

// registry holds the configurations in use. A configuration whose files have changed is replaced for new destinations;
// the present ones keep it.
type registry struct {
	// mu is held while a configuration is read. All configurations are read from the same files, so a read that hangs
	// stops no other one that would succeed.
	mu     sync.Mutex
	inUse  map[settings]*shared
	loaded int // configurations read so far
}

var clients = registry{inUse: make(map[settings]*shared)}

// lease is the HTTP client in the configuration of one destination.
type lease struct {
	wholeReply
	of   *shared
	once sync.Once
}

// Config returns the configuration of one destination's client. It reads the environment and the shared files and opens
// no connection: an agent starts without a network and without credentials. Destinations with equal settings share its
// parts, until the last one calls Release.
func Config(ctx context.Context, o sink.AWS) (aws.Config, error) {
	if o.Credentials != nil { // they may not be comparable
		s, err := read(ctx, o)
		if err != nil {
			return aws.Config{}, err
		}
		s.users++
		return s.lease(), nil
	}
	o.Timeout = 0
	return clients.acquire(ctx, settings{o, environment()})
}

// Release ends the use of a configuration, whose HTTP client is c. The last user closes idle connections.
func Release(c aws.HTTPClient) {
	if l, ok := c.(*lease); ok {
		l.once.Do(func() { clients.release(l.of) })
	}
}

func (r *registry) acquire(ctx context.Context, from settings) (aws.Config, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.inUse[from]
	if s == nil || s.outdated() {
		var err error
		if s, err = read(ctx, from.aws); err != nil {
			return aws.Config{}, err
		}
		s.from = from
		r.loaded++
		r.inUse[from] = s
	}
	s.users++
	return s.lease(), nil
}

func (r *registry) release(s *shared) {
	r.mu.Lock()
	s.users--
	last := s.users == 0
	if last && r.inUse[s.from] == s {
		delete(r.inUse, s.from)
	}
	r.mu.Unlock()
	if last {
		s.http.client.CloseIdleConnections()
	}
}

// read reads a configuration. The versions of its files are taken before, so a change during the read is noticed.
func read(ctx context.Context, o sink.AWS) (*shared, error) {
	files := versions(
		cmp.Or(os.Getenv("AWS_CONFIG_FILE"), config.DefaultSharedConfigFilename()),
		cmp.Or(os.Getenv("AWS_SHARED_CREDENTIALS_FILE"), config.DefaultSharedCredentialsFilename()),
		os.Getenv("AWS_CA_BUNDLE"),
	)
	cfg, client, err := readConfig(ctx, o)
	if err != nil {
		return nil, err
	}
	for _, source := range cfg.ConfigSources {
		if profile, ok := source.(config.SharedConfig); ok {
			files = append(files, versions(profile.CustomCABundle)...)
		}
	}
	return &shared{cfg: cfg, http: client, files: files}, nil
}

func (s *shared) lease() aws.Config {
	cfg := s.cfg
	cfg.APIOptions = slices.Clip(cfg.APIOptions) // a destination may append its own
	cfg.HTTPClient = &lease{wholeReply: s.http, of: s}
	return cfg
}

func (s *shared) outdated() bool { return slices.ContainsFunc(s.files, version.changed) }

// version is the state of a file at some time.
type version struct {
	path string
	info os.FileInfo // nil: there was none
}

func versions(paths ...string) (all []version) {
	for _, path := range paths {
		if path != "" {
			info, _ := os.Stat(path)
			all = append(all, version{path, info})
		}
	}
	return all
}

func (v version) changed() bool {
	now, _ := os.Stat(v.path)
	if now == nil || v.info == nil {
		return (now == nil) != (v.info == nil)
	}
	return !os.SameFile(now, v.info) || now.Size() != v.info.Size() || !now.ModTime().Equal(v.info.ModTime())
}

// environment returns the variables that a configuration is read from. A process changes them only in tests.
func environment() string {
	all := slices.DeleteFunc(os.Environ(), func(v string) bool {
		return !strings.HasPrefix(v, "AWS_") && !strings.HasPrefix(v, "HOME=") && !strings.HasPrefix(v, "USERPROFILE=")
	})
	slices.Sort(all)
	return strings.Join(all, "\x00")
}

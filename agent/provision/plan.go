package provision

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/agent/provision/internal/cloud"
	"github.com/standpipe/standpipe/agent/provision/internal/wanted"
)

// parallel is the number of requests at a time. Kinesis creates at most five streams at a time.
const parallel = 4

// Options complete the configuration.
type Options struct {
	Streams []string      // names of streams for the patterns of the configuration
	Poll    time.Duration // between two looks at a resource that AWS is creating; 0: 3 s
	HTTP    *http.Client  // for requests to AWS; nil: the SDK's
}

// Action is the action of Apply on a resource.
type Action string

// The actions.
const (
	Create Action = "create"
	Finish Action = "finish" // an earlier Apply was interrupted, or AWS is still creating it
	Keep   Action = "keep"
	// Created is the action of a resource that Apply has created or finished.
	Created Action = "created"
)

// Difference is a setting of an existing resource that is not as in the configuration.
type Difference = cloud.Difference

// Item is a resource of a plan.
type Item struct {
	Action      Action       `json:"action"`
	Kind        string       `json:"kind"`
	Name        string       `json:"name"`
	Region      string       `json:"region"`
	Settings    string       `json:"settings"`
	Differences []Difference `json:"differences,omitempty"` // Apply leaves them as they are

	resource cloud.Resource
	state    cloud.State
}

// Plan is the resources that a configuration needs, with the actions of Apply.
type Plan struct {
	Items []Item   `json:"resources"`
	Notes []string `json:"notes"`
}

// Pending returns the number of resources that Apply creates or finishes.
func (p *Plan) Pending() int { return p.count(Create, Finish) }

// Created returns the number of resources that Apply has created or finished.
func (p *Plan) Created() int { return p.count(Created) }

func (p *Plan) count(actions ...Action) (n int) {
	for _, item := range p.Items {
		if slices.Contains(actions, item.Action) {
			n++
		}
	}
	return n
}

// Read compares a configuration with AWS. An exceeded quota is an error.
func Read(ctx context.Context, conf *config.Config, o Options) (*Plan, error) {
	aws := &cloud.Cloud{Poll: o.Poll, HTTP: o.HTTP}
	set, err := wanted.From(conf, wanted.Options{Streams: o.Streams, At: accounts(ctx, aws)})
	if err != nil {
		return nil, err
	}
	plan := &Plan{Items: []Item{}, Notes: notes(set)}
	resources, err := aws.Resources(ctx, set)
	if err != nil {
		return nil, err
	}
	for _, r := range resources {
		plan.Items = append(plan.Items, Item{Kind: r.Kind(), Name: r.Name(), Region: r.Place().Region, Settings: r.Settings(), resource: r})
	}
	if err := each(plan.Items, func(item *Item) error { return item.look(ctx) }); err != nil {
		return nil, err
	}
	return plan, plan.checkQuotas(ctx, aws)
}

// look sets the action and the differences.
func (i *Item) look(ctx context.Context) error {
	state, err := i.resource.Read(ctx)
	if err != nil {
		return cloud.Fault(i.resource, err)
	}
	i.state, i.Differences = state, state.Differences
	switch {
	case !state.Found:
		i.Action = Create
	case state.Unfinished:
		i.Action = Finish
	default:
		i.Action = Keep
	}
	return nil
}

// accounts returns a function that completes a place with the region and the account of the credentials.
func accounts(ctx context.Context, aws *cloud.Cloud) func(wanted.Place) (wanted.Place, error) {
	known := make(map[wanted.Place]string)
	regions := regions(ctx, aws)
	return func(p wanted.Place) (wanted.Place, error) {
		p, err := regions(p)
		if err != nil {
			return p, err
		}
		of := wanted.Place{Region: p.Region, Profile: p.Profile}
		if known[of] == "" {
			if known[of], err = aws.Account(ctx, of); err != nil {
				return p, err
			}
		}
		p.Account = known[of]
		return p, nil
	}
}

// regions returns a function that completes a place with the region of the environment or the profile.
func regions(ctx context.Context, aws *cloud.Cloud) func(wanted.Place) (wanted.Place, error) {
	return func(p wanted.Place) (_ wanted.Place, err error) {
		if p.Region == "" {
			p.Region, err = aws.Region(ctx, p.Profile)
		}
		p.Account = wanted.AccountMark
		return p, err
	}
}

func notes(set wanted.Set) []string {
	notes := []string{}
	for _, pattern := range set.Unnamed {
		notes = append(notes, fmt.Sprintf("the streams of %q are not known here, and neither are their targets: name them with --stream", pattern))
	}
	return notes
}

// checkQuotas returns an error if a quota of the account is too low for the plan.
func (p *Plan) checkQuotas(ctx context.Context, aws *cloud.Cloud) error {
	needs := make(map[wanted.Place]cloud.Need)
	var places []wanted.Place
	for _, item := range p.Items {
		if item.Action != Create {
			continue
		}
		place := item.resource.Place()
		n, listed := needs[place]
		if !listed {
			places = append(places, place)
		}
		shards, isStream := cloud.Shards(item.resource)
		switch {
		case isStream && shards == 0:
			n.OnDemand++
		case isStream:
			n.Shards += shards
		case item.Kind == cloud.KindDelivery:
			n.Deliveries++
		case item.Kind == cloud.KindRole:
			n.Roles++
		}
		needs[place] = n
	}
	var faults []error
	for _, place := range places {
		quotas, unread := aws.Quotas(ctx, place, needs[place])
		for _, q := range quotas {
			if q.Exceeded() {
				faults = append(faults, q)
			}
		}
		for _, err := range unread {
			p.Notes = append(p.Notes, "not checked: "+err.Error())
		}
	}
	return errors.Join(faults...)
}

// Apply creates missing resources and finishes unfinished ones. It looks at each again before it does so: one that was created
// since Read is kept, and gets its differences. Apply calls progress, from one goroutine at a time, before and after each resource that
// it creates, and once for one that is kept after all. After an error it starts no more resources, but ends those that it has begun.
func (p *Plan) Apply(ctx context.Context, progress func(item Item, done bool)) error {
	var mu sync.Mutex
	report := func(item *Item, done bool) {
		mu.Lock()
		defer mu.Unlock()
		progress(*item, done)
	}
	for from := 0; from < len(p.Items); {
		to := from
		for to < len(p.Items) && p.Items[to].Kind == p.Items[from].Kind {
			to++
		}
		err := each(p.Items[from:to], func(item *Item) error {
			if item.Action != Create && item.Action != Finish {
				return nil
			}
			if err := item.look(ctx); err != nil {
				return err
			}
			if item.Action == Keep {
				report(item, true)
				return nil
			}
			report(item, false)
			if err := item.resource.Create(ctx, item.state); err != nil {
				return cloud.Fault(item.resource, err)
			}
			item.Action = Created
			report(item, true)
			return nil
		})
		if err != nil {
			return err
		}
		from = to
	}
	return nil
}

// each calls f for every item, several at a time. After an error it starts no more calls.
func each(items []Item, f func(*Item) error) error {
	var (
		mu     sync.Mutex
		next   int
		faults []error
		wait   sync.WaitGroup
	)
	for range min(parallel, len(items)) {
		wait.Go(func() {
			for {
				mu.Lock()
				i := next
				next++
				stop := i >= len(items) || len(faults) > 0
				mu.Unlock()
				if stop {
					return
				}
				if err := f(&items[i]); err != nil {
					mu.Lock()
					faults = append(faults, err)
					mu.Unlock()
				}
			}
		})
	}
	wait.Wait()
	return errors.Join(faults...)
}

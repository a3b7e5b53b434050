package agent

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/standpipe/standpipe/agent/internal/access"
	"github.com/standpipe/standpipe/agent/internal/condition"
)

// certificateInterval is the time between two looks for changed files of certificates.
const certificateInterval = 5 * time.Second

// certificates returns the certificates of all listeners. It reports false while a reload or the stop changes them.
func (a *Agent) certificates() (all []condition.Certificate, ok bool) {
	open, ok := a.openCertificates()
	for _, c := range open {
		file, expires := c.Expiry()
		all = append(all, condition.Certificate{File: file, Expires: expires})
	}
	slices.SortFunc(all, func(a, b condition.Certificate) int { return strings.Compare(a.File, b.File) })
	return slices.Compact(all), ok
}

func (a *Agent) openCertificates() (all []*access.Certificate, ok bool) {
	if !a.mu.TryLock() {
		return nil, false
	}
	defer a.mu.Unlock()
	add := func(s *security) {
		if s.certificate != nil {
			all = append(all, s.certificate)
		}
	}
	add(&a.adminSecurity)
	for _, l := range a.listeners.bound {
		add(&l.security)
	}
	return all, true
}

// watchCertificates reads changed files of certificates until ctx ends. Handshakes read them too, but a listener may go
// without one for days. A look hangs as the file system does; only this goroutine waits for it.
func (a *Agent) watchCertificates(ctx context.Context) {
	ticker := time.NewTicker(certificateInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		open, _ := a.openCertificates()
		for _, c := range open {
			c.Refresh()
		}
	}
}

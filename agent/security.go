package agent

import (
	"crypto/tls"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/agent/internal/access"
)

// security is the tls and auth blocks of a listener, with their files read.
type security struct {
	guard       *access.Guard       // nil: the listener accepts every caller
	certificate *access.Certificate // nil: no TLS
}

// openSecurity reads the files that the blocks name. A nil block adds nothing.
func openSecurity(r *access.Register, logger hclog.Logger, tlsBlock *config.TLS, auth *config.Auth) (s security, err error) {
	if auth != nil {
		if s.guard, err = access.NewGuard(r, auth.TokenFile, auth.Identities); err != nil {
			return s, err
		}
	}
	if tlsBlock != nil {
		files := access.Files{Cert: tlsBlock.CertFile, Key: tlsBlock.KeyFile, ClientCA: tlsBlock.ClientCAFile}
		s.certificate, err = access.OpenCertificate(files, logger)
	}
	return s, err
}

// tls returns nil without a tls block.
func (s *security) tls() *tls.Config {
	if s.certificate == nil {
		return nil
	}
	return s.certificate.TLS()
}

// refresh reads changed files now.
func (s *security) refresh() {
	if s.guard != nil {
		s.guard.Refresh()
	}
	if s.certificate != nil {
		s.certificate.Refresh()
	}
}

// identities converts the identity blocks.
func identities(conf *config.Config) []access.Identity {
	var all []access.Identity
	for _, i := range conf.Identities {
		all = append(all, access.Identity{
			Name: i.Name, Where: i.Pos.String(), TokenFile: i.TokenFile, Certificates: i.Certificates, UIDs: i.UIDs, GIDs: i.GIDs,
			Streams: i.Streams, Read: i.Read, MaxEvents: i.MaxEvents, MaxBytes: i.MaxBytes,
		})
	}
	return all
}

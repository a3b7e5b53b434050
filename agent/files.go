package agent

import (
	"fmt"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/agent/internal/access"
)

// CheckFiles opens the certificates, keys and token files of conf as New would. It returns the errors, each beginning with
// the position of its block, and logs the warnings of New.
func CheckFiles(conf *config.Config, logger hclog.Logger) (faults []error) {
	note := func(err error) {
		if err != nil {
			faults = append(faults, err)
		}
	}
	all := identities(conf)
	for _, i := range all {
		note(access.NewRegister(hclog.NewNullLogger()).Set([]access.Identity{i}))
	}
	register := access.NewRegister(logger)
	if len(faults) == 0 {
		note(register.Set(all)) // logs its warnings, and rejects a token of two identities
	}
	check := func(p config.Pos, block string, tls *config.TLS, auth *config.Auth) {
		if _, err := openSecurity(register, logger, tls, auth); err != nil {
			note(fmt.Errorf("%s%s: %w", posPrefix(p), block, err))
		}
	}
	for _, l := range conf.Listeners {
		check(l.Pos, fmt.Sprintf("listener %q", l.Type), l.TLS, l.Auth)
	}
	check(conf.Admin.Pos, "admin", conf.Admin.TLS, conf.Admin.Auth)
	return faults
}

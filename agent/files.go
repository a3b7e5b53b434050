package agent

import (
	"fmt"
	"strings"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/agent/internal/access"
)

// CheckFiles opens the certificates, keys and token files of conf as New would. It returns the faults, each at the position
// of its block, and logs the warnings of New.
func CheckFiles(conf *config.Config, logger hclog.Logger) (faults []config.Fault) {
	note := func(err error) {
		if err == nil {
			return
		}
		for _, i := range conf.Identities { // the error of an identity begins with its position
			if text, ok := strings.CutPrefix(err.Error(), i.Pos.String()+": "); ok {
				faults = append(faults, config.Fault{Pos: i.Pos, Text: text})
				return
			}
		}
		faults = append(faults, config.Fault{Text: err.Error()})
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
		_, ofAuth := openSecurity(register, logger, nil, auth)
		_, ofTLS := openSecurity(register, logger, tls, nil)
		for _, err := range []error{ofAuth, ofTLS} {
			if err != nil {
				faults = append(faults, config.Fault{Pos: p, Text: block + ": " + err.Error()})
			}
		}
	}
	for _, l := range conf.Listeners {
		check(l.Pos, fmt.Sprintf("listener %q", l.Type), l.TLS, l.Auth)
	}
	check(conf.Admin.Pos, "admin", conf.Admin.TLS, conf.Admin.Auth)
	conf.AddSources(faults)
	return faults
}

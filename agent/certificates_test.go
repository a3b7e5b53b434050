package agent_test

import (
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/standpipe/standpipe/test/certkit"
)

// A renewed certificate ends its problem also if no client connects.
func TestProblems_OfACertificateThatIsRenewed(t *testing.T) {
	dir := t.TempDir()
	authority := certkit.New(t, dir, "ca")
	c := certkit.Localhost("localhost")
	c.Until = time.Now().Add(time.Hour)
	authority.Issue("server", c)
	conf := parse(t, dir, `
listener "http" {
  address = "127.0.0.1:0"
  tls {
    cert_file = "DIR/server.pem"
    key_file  = "DIR/server.key"
  }
}
stream "s" {`+fileA+`
}`)
	a := start(t, conf, hclog.NewNullLogger())
	until(t, "the problem is found", func() bool { return problem(a.Agent, "certificate_expiring") != nil })
	c.Until = time.Now().Add(365 * 24 * time.Hour)
	authority.Issue("server", c)
	until(t, "the problem is over", func() bool { return problem(a.Agent, "certificate_expiring") == nil })
}

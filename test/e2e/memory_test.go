//go:build unix

package e2e_test

import (
	"errors"
	"regexp"
	"syscall"
	"testing"
	"time"

	"github.com/standpipe/standpipe/test/testkit"
)

func TestMemory_LimitIsSetInTheRuntime(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	for _, c := range []struct{ limit, percent, wantLimit, wantPercent string }{
		{"", "", "1.00663296e\\+08", "200"}, // 96 MiB with one destination
		{"200MiB", "50", "2.097152e\\+08", "50"},
	} {
		a := newAgent(t, "", "stream \"s\" {\n  destination \"file\" \"local\" { path = \"${dir}/out\" }\n}\n")
		a.under = []string{"env", "GOMEMLIMIT=" + c.limit, "GOGC=" + c.percent}
		a.start()
		text := a.get("/metrics")
		for name, want := range map[string]string{"go_gc_gomemlimit_bytes": c.wantLimit, "go_gc_gogc_percent": c.wantPercent} {
			if !regexp.MustCompile("(?m)^" + name + " " + want + "$").MatchString(text) {
				t.Errorf("with GOMEMLIMIT=%q and GOGC=%q: no %s of %s in the metrics", c.limit, c.percent, name, want)
			}
		}
		a.stop()
	}
}

func TestMemory_ReloadSetsTheLimitAgain(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	one := streamBlock("s", fileDestination)
	a := newAgent(t, "", "")
	a.under = []string{"env", "GOMEMLIMIT="}
	a.configure(one)
	a.start()
	a.configure(one + streamBlock("more", fileDestination))
	a.signal(syscall.SIGHUP)
	want := regexp.MustCompile(`(?m)^go_gc_gomemlimit_bytes 1.09051904e\+08$`) // 104 MiB
	testkit.Eventually(t, 10*time.Second, func() error {
		if !want.MatchString(a.get("/metrics")) {
			return errors.New("the limit is not that of two destinations")
		}
		return nil
	})
	a.stop()
}

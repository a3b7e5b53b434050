package main_test

import (
	"errors"
	"regexp"
	"syscall"
	"testing"
	"time"
)

func TestTheRuntimeKnowsHowMuchMemoryItMayTake(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	for limit, want := range map[string]string{
		"":       "1.00663296e\\+08", // 96 MiB with one destination
		"200MiB": "2.097152e\\+08",
	} {
		a := newAgent(t, "", "stream \"s\" {\n  destination \"file\" \"local\" { path = \"${dir}/out\" }\n}\n")
		a.under = []string{"env", "GOMEMLIMIT=" + limit}
		a.start()
		if text := a.get("/metrics"); !regexp.MustCompile("(?m)^go_gc_gomemlimit_bytes " + want + "$").MatchString(text) {
			t.Errorf("with GOMEMLIMIT=%q: no limit of %s in the metrics", limit, want)
		}
		a.stop()
	}
}

func TestAReloadTellsTheRuntimeAnew(t *testing.T) {
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
	eventually(t, 10*time.Second, func() error {
		if !want.MatchString(a.get("/metrics")) {
			return errors.New("the limit is not that of two destinations")
		}
		return nil
	})
	a.stop()
}

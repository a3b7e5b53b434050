package main_test

import (
	"regexp"
	"testing"
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

package admin

import (
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// GatherChecked returns the metrics of a snapshot and of m as prometheus.Gatherers merges them: each series of a family is
// checked, and a second one with the same labels is an error.
func GatherChecked(status Status, m *Metrics, basic bool) ([]*dto.MetricFamily, error) {
	return prometheus.Gatherers{m.registry, collector{status: status, ready: true, kinds: []string{"paused"}, basic: basic}}.Gather()
}

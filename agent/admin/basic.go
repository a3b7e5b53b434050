package admin

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// PerStream is the choice of the metrics that have a series for each stream.
type PerStream string

// The choices.
const (
	PerStreamAuto  PerStream = "auto"  // full for up to MaxFull destinations of streams, then basic
	PerStreamFull  PerStream = "full"  // every metric with the label stream
	PerStreamBasic PerStream = "basic" // the metrics of basicFamilies, and the others as sums over all streams
)

// MaxFull is the number of destinations, counted for each stream, up to which PerStreamAuto is full. A full destination has
// about 50 series.
const MaxFull = 100

// full reports whether the metrics of s have all their series.
func (p PerStream) full(s *Status) bool {
	if p == PerStreamFull || p == PerStreamBasic {
		return p == PerStreamFull
	}
	n := 0
	for _, stream := range s.Streams {
		n += max(len(stream.Destinations), 1)
	}
	return n <= MaxFull
}

// basicFamilies are the metrics that always have a series for each stream.
var basicFamilies = []string{
	"standpipe_appended_events_total", "standpipe_appended_bytes_total", "standpipe_delivered_events_total", "standpipe_dead_events_total",
	"standpipe_pending_events", "standpipe_pending_bytes", "standpipe_oldest_pending_seconds",
}

// occurredFamilies are the metrics of which PerStreamBasic keeps the series that are not zero.
var occurredFamilies = []string{
	"standpipe_refused_events_total", "standpipe_accepted_lost_events_total", "standpipe_dropped_events_total", "standpipe_destination_state",
	"standpipe_dead_letters",
}

// ageFamilies are the metrics of which PerStreamBasic keeps the highest value of all streams: a sum means nothing. They are the
// collector's.
var ageFamilies = []string{"standpipe_newest_delivered_age_seconds"}

// A reduction is the change that PerStreamBasic makes to a metric.
type reduction int

const (
	none       reduction = iota // nothing: it has no label stream, or a series for each stream
	toOccurred                  // keeps the series that are not zero
	toSums                      // sums over all streams; the label stream is empty
	toHighest                   // the highest values of all streams; the label stream is empty
)

func reductionOf(family string) reduction {
	switch {
	case slices.Contains(basicFamilies, family):
		return none
	case slices.Contains(occurredFamilies, family):
		return toOccurred
	case slices.Contains(ageFamilies, family):
		return toHighest
	}
	return toSums
}

// basic reduces the metrics of a Gatherer to those of PerStreamBasic. A sum over all streams has an empty label stream, so that
// sum by (destination) means the same with and without the reduction.
type basic struct{ from prometheus.Gatherer }

// Gather returns the reduced metrics.
func (b basic) Gather() ([]*dto.MetricFamily, error) {
	families, err := b.from.Gather()
	for _, f := range families {
		if len(f.Metric) == 0 || streamOf(f.Metric[0]) == nil {
			continue
		}
		switch reductionOf(f.GetName()) {
		case toOccurred:
			f.Metric = slices.DeleteFunc(f.Metric, func(m *dto.Metric) bool { return valueOf(m) == 0 })
		case toSums:
			f.Metric = sumOverStreams(f.Metric)
		}
	}
	// A family without a series is an error of the text format.
	return slices.DeleteFunc(families, func(f *dto.MetricFamily) bool { return len(f.Metric) == 0 }), err
}

func valueOf(m *dto.Metric) float64 { return m.GetCounter().GetValue() + m.GetGauge().GetValue() }

// streamOf returns the label stream of m; nil: it has none.
func streamOf(m *dto.Metric) *dto.LabelPair {
	if i := slices.IndexFunc(m.Label, func(l *dto.LabelPair) bool { return l.GetName() == "stream" }); i >= 0 {
		return m.Label[i]
	}
	return nil
}

// sumOverStreams returns one metric for each combination of the labels other than stream. It changes the metrics, but not
// their labels, which the registry uses again.
func sumOverStreams(metrics []*dto.Metric) (sums []*dto.Metric) {
	byLabels := make(map[string]*dto.Metric)
	var labels []byte
	for _, m := range metrics {
		labels = labels[:0]
		for _, l := range m.Label { // sorted by the registry
			if l.GetName() != "stream" {
				labels = append(append(labels, l.GetValue()...), 0xff) // no byte of a valid label
			}
		}
		if sum, there := byLabels[string(labels)]; there {
			add(sum, m)
		} else {
			byLabels[string(labels)] = m
			sums = append(sums, m)
			m.Label = withoutStream(m.Label)
		}
	}
	return sums
}

// withoutStream returns the labels with an empty stream.
func withoutStream(labels []*dto.LabelPair) []*dto.LabelPair {
	labels = slices.Clone(labels)
	for i, l := range labels {
		if l.GetName() == "stream" {
			labels[i] = &dto.LabelPair{Name: l.Name, Value: new(string)}
		}
	}
	return labels
}

// add adds m to sum, which has the same type and, for a histogram, the same buckets.
func add(sum, m *dto.Metric) {
	switch {
	case sum.Counter != nil:
		*sum.Counter.Value += m.Counter.GetValue()
	case sum.Gauge != nil:
		*sum.Gauge.Value += m.Gauge.GetValue()
	case sum.Histogram != nil:
		*sum.Histogram.SampleCount += m.Histogram.GetSampleCount()
		*sum.Histogram.SampleSum += m.Histogram.GetSampleSum()
		for i, b := range sum.Histogram.Bucket {
			*b.CumulativeCount += m.Histogram.Bucket[i].GetCumulativeCount()
		}
	}
}

package admin

import (
	"cmp"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
)

// family is a metric of the collector.
type family struct {
	name, help string
	kind       dto.MetricType
	labels     []string
	sorted     []int // the indexes of labels by name, as a family has them
	reduction  reduction
}

func counterFamily(name, help string, labels ...string) *family {
	return newFamily(name, help, dto.MetricType_COUNTER, labels)
}

func gaugeFamily(name, help string, labels ...string) *family {
	return newFamily(name, help, dto.MetricType_GAUGE, labels)
}

func newFamily(name, help string, kind dto.MetricType, labels []string) *family {
	f := &family{name: "standpipe_" + name, help: help, kind: kind, labels: labels}
	for i := range labels {
		f.sorted = append(f.sorted, i)
	}
	slices.SortFunc(f.sorted, func(a, b int) int { return strings.Compare(labels[a], labels[b]) })
	if len(labels) > 0 && labels[0] == "stream" {
		f.reduction = reductionOf(f.name)
	}
	return f
}

// emitter builds the families of one response.
type emitter struct {
	families map[*family]*dto.MetricFamily
	sums     map[sum]float64 // nil: all series are sent

	// The label pairs of the series before, which mostly has the same ones.
	pairs  []*dto.LabelPair
	of     *family
	values [3]string
}

// sum is a series over all streams: their sum, or the highest value. The last label is empty if the metric has two.
type sum struct {
	family            *family
	destination, last string
}

func sumOf(f *family, labels []string) sum {
	s := sum{family: f}
	if len(labels) > 1 {
		s.destination = labels[1]
	}
	if len(labels) > 2 {
		s.last = labels[2]
	}
	return s
}

func newEmitter(basic bool) *emitter {
	e := &emitter{families: make(map[*family]*dto.MetricFamily)}
	if basic {
		e.sums = make(map[sum]float64)
	}
	return e
}

// send adds a series. The labels are valid UTF-8. With sums, it may add the value to a sum instead, or raise one to it, or
// omit a zero.
func (e *emitter) send(f *family, value float64, labels ...string) {
	if e.sums != nil {
		switch f.reduction {
		case toOccurred:
			if value == 0 {
				return
			}
		case toSums:
			e.sums[sumOf(f, labels)] += value
			return
		case toHighest:
			of := sumOf(f, labels)
			e.sums[of] = max(e.sums[of], value)
			return
		}
	}
	e.add(f, value, labels)
}

func (e *emitter) add(f *family, value float64, labels []string) {
	to := e.families[f]
	if to == nil {
		to = &dto.MetricFamily{Name: &f.name, Help: &f.help, Type: &f.kind}
		e.families[f] = to
	}
	m := &dto.Metric{Label: e.pairsOf(f, labels)}
	if f.kind == dto.MetricType_COUNTER {
		m.Counter = &dto.Counter{Value: &value}
	} else {
		m.Gauge = &dto.Gauge{Value: &value}
	}
	to.Metric = append(to.Metric, m)
}

// pairsOf returns the label pairs of a series. Series share them: they are not changed.
func (e *emitter) pairsOf(f *family, labels []string) []*dto.LabelPair {
	if e.of != nil && slices.Equal(e.of.labels, f.labels) && slices.Equal(e.values[:len(labels)], labels) {
		return e.pairs
	}
	e.of, e.pairs = f, make([]*dto.LabelPair, len(labels))
	copy(e.values[:], labels)
	own := slices.Clone(labels)
	for to, from := range f.sorted {
		e.pairs[to] = &dto.LabelPair{Name: &f.labels[from], Value: &own[from]}
	}
	return e.pairs
}

// gather returns the families, sorted by name, with their series sorted by their labels.
func (e *emitter) gather() []*dto.MetricFamily {
	for s, value := range e.sums {
		labels := []string{"", s.destination, s.last}
		e.add(s.family, value, labels[:len(s.family.labels)])
	}
	all := make([]*dto.MetricFamily, 0, len(e.families))
	for _, f := range e.families {
		slices.SortFunc(f.Metric, func(a, b *dto.Metric) int {
			return slices.CompareFunc(a.Label, b.Label, func(a, b *dto.LabelPair) int { return cmp.Compare(a.GetValue(), b.GetValue()) })
		})
		all = append(all, f)
	}
	slices.SortFunc(all, func(a, b *dto.MetricFamily) int { return cmp.Compare(a.GetName(), b.GetName()) })
	return all
}

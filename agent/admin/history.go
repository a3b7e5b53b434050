package admin

import (
	"fmt"
	"strings"
	"time"
)

// History is the traffic of the last minutes in steps of equal length.
type History struct {
	Step         time.Duration
	All          []Point           // of all streams together, the newest last
	Destinations map[Place][]Point // of each destination; those beyond a limit have none
}

// Point is one step. Out and Pending count an event once at each destination; In of a destination is zero.
type Point struct {
	In, Out float32 // events per second
	Pending float32 // events at the end of the step
}

// The size of a chart in its own units: a step is one unit wide.
const (
	chartSteps  = 60
	chartHeight = 24
)

// chart is a line for each of some figures over time, in one scale.
type chart struct {
	Lines []chartLine
	Max   float32 // of all lines: the top of the chart
}

type chartLine struct {
	Class  string // of the style
	Points string // of an SVG polyline
}

// newChart draws figures of points. A chart without two points is nil.
func newChart(points []Point, figures map[string]func(Point) float32) *chart {
	points = points[max(0, len(points)-chartSteps):]
	if len(points) < 2 {
		return nil
	}
	c := &chart{}
	for _, figure := range figures {
		for _, p := range points {
			c.Max = max(c.Max, figure(p))
		}
	}
	for _, class := range []string{"in", "out", "pending"} {
		if figure := figures[class]; figure != nil {
			c.Lines = append(c.Lines, chartLine{class, polyline(points, figure, c.Max)})
		}
	}
	return c
}

// polyline places the newest point at the right end, and top at the upper one.
func polyline(points []Point, figure func(Point) float32, top float32) string {
	var b strings.Builder
	for i, p := range points {
		share := float32(0)
		if top > 0 {
			share = figure(p) / top
		}
		fmt.Fprintf(&b, "%d,%.1f ", chartSteps-len(points)+i, (1-share)*chartHeight)
	}
	return strings.TrimSuffix(b.String(), " ")
}

func (h *History) traffic() *chart {
	return newChart(h.All, map[string]func(Point) float32{
		"in": func(p Point) float32 { return p.In }, "out": func(p Point) float32 { return p.Out },
	})
}

func (h *History) backlog() *chart {
	return newChart(h.All, map[string]func(Point) float32{"pending": func(p Point) float32 { return p.Pending }})
}

// deliveries is the chart of one destination.
func (h *History) deliveries(at Place) *chart {
	return newChart(h.Destinations[at], map[string]func(Point) float32{"out": func(p Point) float32 { return p.Out }})
}

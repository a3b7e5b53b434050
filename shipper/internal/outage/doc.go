// Package outage writes the log lines about destinations in trouble. Destinations that one cause stops are one outage: a line
// when it begins, summaries while it lasts, and a line when it ends. Repeated lines about one destination are written once a
// minute, with their number.
package outage

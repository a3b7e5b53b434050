// Package condition finds the problems of an agent: the conditions that change the service for producers or consumers, or will
// soon. One table has all kinds. Each problem is one agent log line when it begins and one when it ends, a line at the
// top of the status and of the page, and a series of the metric standpipe_problems.
//
// Find is a function of a snapshot: it reads no clock, no disk and no service. A Tracker keeps the time at which each
// problem began, and writes the log lines.
package condition

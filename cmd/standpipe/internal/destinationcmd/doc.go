// Package destinationcmd has the commands standpipe destination: a list of the destinations of a running agent, and the
// interventions of an operator.
package destinationcmd

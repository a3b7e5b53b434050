// Package putcmd has the command standpipe put, which sends lines to a running agent as events and stops at the first line
// that the agent rejects.
package putcmd

// Package deadcmd has the commands of standpipe dead, which list, show, requeue and drop the dead letters of a running agent
// over its admin listener.
package deadcmd

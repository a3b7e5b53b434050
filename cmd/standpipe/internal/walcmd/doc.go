// Package walcmd has the commands of standpipe wal, which read a log in its data directory, also beside a running agent. One
// file holds one command: dump.go is wal dump. wal ls and wal verify are in wal.go.
package walcmd

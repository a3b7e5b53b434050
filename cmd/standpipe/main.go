// Command standpipe takes events from producers on this host, makes them safe on disk, and feeds
// them to Amazon Data Firehose and Kinesis Data Streams for as long as that takes.
//
// The promise of the command line: standard output carries data, standard error what a person
// reads; the exit code is 0 when it is done, 1 when it failed, 2 when the command line is wrong or,
// for agent, the configuration.
package main

import "os"

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

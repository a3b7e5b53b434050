// Package doctor tries the needs of a configuration on this host: folders, addresses, files, the clock and destinations.
//
// # Contract
//
// Run returns one Check for each part, in the order of the package's list, with a remedy for each that is not in order. It
// changes nothing that stays: files that it writes are removed, and no event is sent to a destination. Each check has the
// timeout of the options, also if a disk or a server hangs; checks run side by side.
//
// If an agent with this configuration runs, its addresses are in use by it, which is in order.
//
// # Limits
//
// A destination is in order if the service answers a request that stores nothing, such as a query of a stream's description.
// That does not show the right to send. The names of streams that a pattern stands for are not known, so targets with ${stream}
// are skipped for patterns.
package doctor

// Package failure classifies errors that come from this host or the network instead of a destination: the request was
// canceled, timed out, or got no usable response.
//
// A sink classifies the responses of its own service in one function and calls Of for every other error, so the same
// failure has the same code in the metrics of all destinations. Texts are one line of at most 300 bytes.
package failure

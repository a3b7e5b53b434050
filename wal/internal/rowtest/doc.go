// Package rowtest makes rows of segments with events, for the tests of the packages that read them. It needs no log: each
// Append writes one transaction into the newest segment and publishes it.
package rowtest

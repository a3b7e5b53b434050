// Package deadletters serves the dead letters of the log to operators. Letters lists them, shows one, appends their events
// again, and removes them. Count has the number of the stored letters of each destination.
//
// A letter is removed after its event is synced in its stream again, so a crash in between keeps both, and none is lost. No
// two requests change letters at the same time. Count reads the file in the background: neither a status nor a scrape waits
// for it.
package deadletters

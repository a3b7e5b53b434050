// Package identity distinguishes a log from its copies. Two events must never share an ID, even if a data directory is
// copied and both copies take events, or if an older copy replaces a log whose later events were delivered.
//
// # Contract
//
// An offset alone does not distinguish such events, so a log has branches. A copy begins a branch of its own when it is
// opened, and an event's ID names the branch in which the event was appended. Events from before the copy was made keep
// their IDs: both copies hold the same event.
//
// Load treats the directory as a copy if a property that is not copied with the files differs from the record in the
// newest segment. These properties are the inode and the birth time of the file and of the folder, and the machine's ID,
// serial number and network cards. NotedEvents finds a restored older copy: the folder's extended attribute has a higher
// number of events than the log. A directory that is wrongly treated as a copy begins a branch too, which does no harm.
//
// The record of the segment's birthplace is JSON in the meta bucket. The offsets at which the branches begin are in the
// state, under the stream's name. A stream that has events of the latest branch only has no such entry.
//
// # Assumptions
//
// A missing property is not compared. A host name or an address does not count, nor does a restart, or a rename of the
// directory. A machine may get a new network card beside the old ones.
//
// # Limits
//
// Only Linux provides the properties: elsewhere a copied directory continues the branch of its log. Not recognized are a
// copy of a whole disk with the same machine id, serial number and network cards, and an older copy that was written into
// the existing files within ten seconds after a kill.
package identity

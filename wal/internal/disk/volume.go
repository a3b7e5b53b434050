package disk

// Volume is the file system of a folder.
type Volume struct {
	Free int64 // bytes that are free for this process
	Size int64 // all bytes
	// Kind is the type of a file system that may lose data, or hang, in ways that a local disk does not: "tmpfs", "nfs",
	// "cifs", "fuse", … It is empty for any other file system, and where it is not known.
	Kind string
}

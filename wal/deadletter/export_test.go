package deadletter

import bolt "go.etcd.io/bbolt"

// SetCommit makes commit the function that commits a transaction.
func (d *Queue) SetCommit(commit func(tx *bolt.Tx) error) { d.commit = commit }

// SetCopied sets a hook that is called when a copy is complete and has not replaced the file yet. A hook that returns an
// error makes the copy fail.
func (d *Queue) SetCopied(hook func() error) { d.copied = hook }

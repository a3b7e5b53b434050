package deadletter

import (
	"encoding/binary"

	bolt "go.etcd.io/bbolt"
)

// SetCommit makes commit the function that commits a transaction.
func (d *Queue) SetCommit(commit func(tx *bolt.Tx) error) { d.commit = commit }

// SetCopied sets a hook that is called when a copy is complete and has not replaced the file yet. A hook that returns an
// error makes the copy fail.
func (d *Queue) SetCopied(hook func() error) { d.copied = hook }

// EarlierValue returns the value that a release before parts stores for a letter.
func EarlierValue(l Letter, id uint64) []byte {
	value := append([]byte{versionWhole, 0, 0, 0, 0}, l.appendBody(nil)...)
	binary.BigEndian.PutUint32(value[letterSumAt:], letterSum(value, id))
	return value
}

// Package diskwatch looks at the disk of the log: its free space, and the files that were set aside. It rejects appends while
// there is less free space than min_free, and accepts them again a margin above.
//
// A look can hang as long as the disk does. State and Rejection never wait for it; they have the result of the last one.
package diskwatch

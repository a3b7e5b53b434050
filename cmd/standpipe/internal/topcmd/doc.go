// Package topcmd is the command top: a live view of an agent on the whole terminal. Its table has a row for each destination or
// each stream and draws the visible rows alone, so thousands of them cost a sort at each update.
package topcmd

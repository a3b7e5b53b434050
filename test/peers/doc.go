// Package peers runs other programs of the field beside standpipe, in one run. It is a module of its own, so that standpipe does not depend
// on them. It needs Linux.
package peers

package inspect_test

import (
	"io/fs"
	"os"
	"os/exec"
	"syscall"
)

// changed returns the time of the last change of a file's content or metadata.
func changed(info fs.FileInfo) any { return info.Sys().(*syscall.Stat_t).Ctim }

// asNobody runs the process as user 65534 if the tests run as root, since root may write anywhere.
func asNobody(c *exec.Cmd) {
	if os.Geteuid() == 0 {
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
}

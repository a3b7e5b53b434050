package wal_test

import (
	"io/fs"
	"os"
	"os/exec"
	"syscall"
)

// changed returns when anything of a file was last changed.
func changed(info fs.FileInfo) any { return info.Sys().(*syscall.Stat_t).Ctim }

// asNobody takes root's rights from a process: root may write anywhere.
func asNobody(c *exec.Cmd) {
	if os.Geteuid() == 0 {
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
}

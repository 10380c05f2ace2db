//go:build unix

package main

import (
	"os"
	"os/exec"
	"syscall"
)

// asNobody runs a command as another user, where this one is root.
func asNobody(cmd *exec.Cmd) {
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
}

package main

import (
	"os/exec"
	"syscall"
	"time"
)

// ownGroup gives a command a process group that is ended with it: a part's own children (lathe, Python) must not outlive it and
// hold the GPU.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
}

// diskFree is the room in bytes that a folder's file system has for this user, 0 where it does not tell.
func diskFree(dir string) int64 {
	var s syscall.Statfs_t
	if syscall.Statfs(dir, &s) != nil {
		return 0
	}
	return int64(s.Bavail) * s.Bsize
}

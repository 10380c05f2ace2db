package model

import (
	"fmt"
	"io/fs"
	"syscall"
	"time"
)

// fileIdentity is what changes with a file's content, and the time of its last change.
func fileIdentity(info fs.FileInfo) (text string, changed time.Time, ok bool) {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "", changed, false
	}
	changed = time.Unix(s.Ctim.Unix())
	if info.ModTime().After(changed) {
		changed = info.ModTime()
	}
	return fmt.Sprintf("%d %d %d %d %d", s.Dev, s.Ino, s.Size, s.Mtim.Nano(), s.Ctim.Nano()), changed, true
}

// diskFree is the space that this user may still fill.
func diskFree(dir string) (int64, bool) {
	var s syscall.Statfs_t
	if syscall.Statfs(dir, &s) != nil {
		return 0, false
	}
	return int64(s.Bavail) * s.Bsize, true
}

//go:build unix

package export

import (
	"errors"
	"os"
	"syscall"
)

// lockDir marks a folder as being written for as long as the file is open; the kernel lets go of it when a process dies.
func lockDir(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if errors.Is(syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB), syscall.EWOULDBLOCK) {
		return nil, errors.Join(errLocked, f.Close())
	}
	return f, nil // a file system without locks is no reason not to export
}

// diskFree is the space that this user may still fill.
func diskFree(dir string) (int64, bool) {
	var s syscall.Statfs_t
	if syscall.Statfs(dir, &s) != nil {
		return 0, false
	}
	return int64(s.Bavail) * int64(s.Bsize), true //nolint:unconvert // Bsize's type differs by system
}

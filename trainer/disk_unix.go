//go:build unix

package trainer

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// lockDir keeps a second run out of a folder for as long as the file is open; the kernel lets go of it when a process dies.
func lockDir(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, errors.Join(fmt.Errorf("another run is writing to %s: wait for it, or give another folder", dir), f.Close())
	}
	return f, nil // a file system without locks is no reason not to train
}

// diskFree is the space that this user may still fill.
func diskFree(dir string) (int64, bool) {
	var s syscall.Statfs_t
	if syscall.Statfs(dir, &s) != nil {
		return 0, false
	}
	return int64(s.Bavail) * s.Bsize, true
}

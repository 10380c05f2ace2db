//go:build unix

package cli

import "syscall"

// limitFileSize makes every write beyond a size fail with EFBIG, as it fails with ENOSPC on a full disk.
func limitFileSize(n uint64) error {
	return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: n, Max: n})
}

//go:build unix

package main

import (
	"os"
	"runtime"
	"syscall"
)

// maxRSS is a process's high water in bytes.
func maxRSS(p *os.ProcessState) int64 {
	u, ok := p.SysUsage().(*syscall.Rusage)
	switch {
	case !ok:
		return 0
	case runtime.GOOS == "darwin": // counts bytes, the others KiB
		return u.Maxrss
	default:
		return u.Maxrss << 10
	}
}

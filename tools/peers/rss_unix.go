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
		return int64(u.Maxrss)
	default:
		return int64(u.Maxrss) << 10
	}
}

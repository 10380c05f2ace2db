// Package nccl sums tensors over the GPUs of a run with NVIDIA's NCCL, which is loaded at run time from where the host has it. The
// ranks meet through package compute/distributed, which also tells when one of them has ended; this package then ends NCCL's
// own waiting, which would last for ever.
package nccl

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// EnvPath names the library that is loaded instead of the one that is found.
const EnvPath = "LATHE_NCCL"

// ErrMissing says that the host has no NCCL.
var ErrMissing = errors.New("NCCL is missing")

const (
	soname  = "libnccl.so.2"
	install = "pip install nvidia-nccl-cu12, or the distribution's libnccl2 package, brings it (" + EnvPath + " names a library elsewhere); one GPU trains without it"
)

// candidates are the places to look at, best first: what the user names, the loader's own, pip's of the Pythons at hand, the
// distributions'.
func candidates(getenv func(string) string) []string {
	if path := getenv(EnvPath); path != "" {
		return []string{path}
	}
	all := []string{soname}
	var roots []string
	for _, name := range []string{"VIRTUAL_ENV", "CONDA_PREFIX"} {
		if root := getenv(name); root != "" {
			roots = append(roots, root)
			all = append(all, filepath.Join(root, "lib", soname))
		}
	}
	if python, err := exec.LookPath("python3"); err == nil {
		roots = append(roots, filepath.Dir(filepath.Dir(python)))
		if target, err := filepath.EvalSymlinks(python); err == nil {
			roots = append(roots, filepath.Dir(filepath.Dir(target)))
		}
	}
	if home := getenv("HOME"); home != "" {
		roots = append(roots, filepath.Join(home, ".local"))
	}
	for _, root := range append(roots, "/usr/local", "/usr") {
		for _, packages := range []string{"site-packages", "dist-packages"} {
			found, _ := filepath.Glob(filepath.Join(root, "lib*", "python3*", packages, "nvidia", "nccl", "lib", soname))
			all = append(all, found...)
		}
	}
	for _, dir := range []string{"/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/local/cuda/lib64", "/usr/local/lib"} {
		all = append(all, filepath.Join(dir, soname))
	}
	return all
}

// find opens the first library that opens. One that is there and does not open is the error; none at all is ErrMissing.
func find(paths []string, open func(path string) error) error {
	var broken error
	for _, path := range paths {
		err := open(path)
		if err == nil {
			return nil
		}
		_, statErr := os.Stat(path)
		named := len(paths) == 1
		switch {
		case named && statErr != nil:
			return fmt.Errorf("%w: %s=%s: no such library: correct or unset it", ErrMissing, EnvPath, path)
		case named:
			return fmt.Errorf("load NCCL: %s=%s: %s: name a libnccl.so.2, or unset it", EnvPath, path, oneLine(err.Error()))
		case statErr == nil && broken == nil:
			broken = fmt.Errorf("load NCCL: %s: %s: reinstall it, or name another with %s", path, oneLine(err.Error()), EnvPath)
		}
	}
	if broken != nil {
		return broken
	}
	return fmt.Errorf("%w: several GPUs sum their gradients with it, and no %s is found here: %s", ErrMissing, soname, install)
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// minVersion is 2.4, where ncclCommAbort and ncclCommGetAsyncError came.
const minVersion = 2400

// versionText writes NCCL's number: 21805 is 2.18.5, and before 2.9 2804 was 2.8.4.
func versionText(v int) string {
	if v < 10000 {
		return fmt.Sprintf("%d.%d.%d", v/1000, v%1000/100, v%100)
	}
	return fmt.Sprintf("%d.%d.%d", v/10000, v%10000/100, v%100)
}

// Package driver is the CUDA driver API, opened at run time behind one small seam, so that neither building nor starting
// needs CUDA. What libcuda offers comes through an [api]; the default one calls it by purego, `-tags gorgonia` puts
// gorgonia.org/cu in its place.
package driver

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// MinVersion is the oldest driver API that takes the kernels' PTX (ISA 8.4): CUDA 12.4.
const MinVersion = 12040

// EnvPath names the library that [Open] loads instead of the system's libcuda.so.1.
const EnvPath = "LATHE_CUDA_DRIVER"

// systemPaths is where libcuda lies: where the linker finds it, under WSL, and on NixOS, whose linker path has no driver.
var systemPaths = []string{"libcuda.so.1", "/usr/lib/wsl/lib/libcuda.so.1", "/run/opengl-driver/lib/libcuda.so.1"}

// Driver is an opened and initialised libcuda.
type Driver struct {
	api     api
	path    string
	version int
	host    host
}

// Ptr is an address in device memory; 0 is none.
type Ptr uint64

// Open loads libcuda, refuses one older than [MinVersion], and initialises it. An empty path means the environment's
// LATHE_CUDA_DRIVER, and without it the system's libcuda.so.1. The error is an [*Error] that names the cause: see
// [ErrNoDriver], [ErrTooOld], [ErrNoDevice] and those that wrap it.
func Open(path string) (*Driver, error) {
	a, path, err := load(path)
	if err != nil {
		return nil, err
	}
	d := &Driver{api: a, path: path, host: thisHost}
	version, r := a.version()
	if r == Success && version < MinVersion {
		return nil, &Error{Call: "cuDriverGetVersion", Kind: ErrTooOld, Hint: fmt.Sprintf(
			"the NVIDIA driver is too old: it offers CUDA %s, the kernels need %s: install driver 550 or later and reboot",
			versionString(version), versionString(MinVersion))}
	}
	if r == Success {
		r = a.init()
	}
	if r != Success {
		return nil, d.host.explain(d.fail("cuInit", r))
	}
	d.version = version
	return d, nil
}

// load opens the library at path, or the first of those that the environment or the system names.
func load(path string) (api, string, error) {
	if path == "" {
		path = os.Getenv(EnvPath)
	}
	if path != "" {
		a, err := newAPI(path)
		return a, path, noLibrary(path, err)
	}
	var first error
	for _, p := range systemPaths {
		a, err := newAPI(p)
		if err == nil {
			return a, p, nil
		}
		if first == nil {
			first = noLibrary(p, err)
		}
		if filepath.IsAbs(p) && exists(p) {
			return nil, p, noLibrary(p, err)
		}
	}
	return nil, systemPaths[0], first
}

// noLibrary says why a library could not be opened: it is not there, it is not libcuda, or it is broken.
func noLibrary(path string, err error) error {
	if err == nil {
		return nil
	}
	e := &Error{Call: "dlopen " + path, Kind: ErrNoDriver, Log: err.Error()}
	switch {
	case strings.Contains(err.Error(), "No such file") || strings.Contains(err.Error(), "not found"):
		e.Hint = "no NVIDIA driver is installed here: install driver 550 or later (in a container: start it with --gpus all)"
		if path != systemPaths[0] {
			e.Hint = "no such library: correct " + EnvPath + " or unset it to use the system's libcuda.so.1"
		}
	default:
		e.Detail = "(" + oneLine(err.Error()) + ")"
		e.Hint = "this is no usable libcuda: reinstall the NVIDIA driver, or correct " + EnvPath
	}
	return e
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Version is the CUDA version that the driver offers, as 1000*major + 10*minor: 13000 for 13.0.
func (d *Driver) Version() int { return d.version }

// Path is the library that was opened.
func (d *Driver) Path() string { return d.path }

// Backend names what calls the library: "purego", or "gorgonia.org/cu".
func (d *Driver) Backend() string { return backend }

func versionString(v int) string { return fmt.Sprintf("%d.%d", v/1000, v%1000/10) }

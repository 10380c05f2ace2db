package driver

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// host is what the machine tells beside libcuda: libcuda answers CUDA_ERROR_NO_DEVICE for half a dozen causes.
type host struct {
	root   string                      // "/"
	lookup func(string) (string, bool) // the environment
	open   func(string) error          // opens a device file for reading and writing
}

var thisHost = host{root: "/", lookup: os.LookupEnv, open: func(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return f.Close()
}}

// explain puts the cause in place of a result that has many.
func (h host) explain(e *Error) *Error {
	switch e.Result {
	case NoDevice, OperatingSystem, Unknown, NotInitialized:
		if hint, kind := h.cause(); kind != nil {
			e.Kind, e.Hint = kind, hint
		}
	case SystemMismatch:
		if v := h.moduleVersion(); v != "" {
			e.Hint = "the loaded kernel module is " + v + "; " + e.Hint
		}
	}
	return e
}

// cause looks for the reason that no device is there, or returns nil.
func (h host) cause() (hint string, kind error) {
	visible, set := h.lookup("CUDA_VISIBLE_DEVICES")
	if first := strings.TrimSpace(strings.Split(visible, ",")[0]); set && (first == "" || first == "-1" || first == "NoDevFiles") {
		return fmt.Sprintf("CUDA_VISIBLE_DEVICES=%q hides every GPU: unset it or name one (nvidia-smi -L)", visible), ErrHidden
	}
	devices := h.glob("dev/nvidia[0-9]*")
	// WSL and Jetson reach the GPU through other files.
	other := len(h.glob("dev/dxg"))+len(h.glob("dev/nvhost-*")) > 0
	if len(devices) == 0 && !other {
		if h.moduleVersion() == "" {
			return "the nvidia kernel module is not loaded here: modprobe nvidia, or reboot after the driver's installation; in a container, start it with --gpus all", ErrNoDevice
		}
		return "the driver is loaded but there is no /dev/nvidia0: in a container, start it with --gpus all; on a host, lspci | grep -i nvidia should list a GPU", ErrNoDevice
	}
	for _, f := range append(devices, h.glob("dev/nvidiactl")...) {
		if err := h.open(f); errors.Is(err, fs.ErrPermission) {
			return fmt.Sprintf("no permission on %s: join the group that owns it (ls -l %s), or in a container allow the device (--gpus all)", f, f), ErrPermission
		}
	}
	if h.migWithoutInstance() {
		return "MIG seems on without an instance: nvidia-smi mig -lgi lists them, nvidia-smi mig -cgi 0 -C makes one, nvidia-smi -mig 0 switches MIG off", ErrMIG
	}
	if set {
		return fmt.Sprintf("CUDA_VISIBLE_DEVICES=%q names no GPU of this host: unset it or name one (nvidia-smi -L)", visible), ErrHidden
	}
	return "", nil
}

// migWithoutInstance tells whether some GPU has a folder for MIG instances and none has an instance.
func (h host) migWithoutInstance() bool {
	return len(h.glob("proc/driver/nvidia/capabilities/gpu*/mig")) > 0 &&
		len(h.glob("proc/driver/nvidia/capabilities/gpu*/mig/gi*")) == 0
}

// moduleVersion is the kernel module's version, "" where none is loaded.
func (h host) moduleVersion() string {
	b, err := os.ReadFile(filepath.Join(h.root, "proc/driver/nvidia/version"))
	if err != nil {
		return ""
	}
	for _, field := range strings.Fields(string(b)) {
		if field[0] >= '0' && field[0] <= '9' && strings.Contains(field, ".") {
			return field
		}
	}
	return "of unknown version"
}

func (h host) glob(pattern string) []string {
	found, err := filepath.Glob(filepath.Join(h.root, pattern))
	if err != nil {
		return nil // the patterns are constants
	}
	return found
}

package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"unsafe"

	"github.com/ebitengine/purego"
)

// options of the compiler: the oldest architecture with bf16 and cp.async, whose PTX every later GPU's driver translates. No fast
// math; a kernel that wants an approximate instruction names it.
var options = []string{"--gpu-architecture=compute_80", "--std=c++17", "--device-as-default-execution-space"}

// toolchain is NVRTC, loaded, and the path of ptxas.
type toolchain struct {
	library uintptr
	ptxas   string
}

func openToolchain() (*toolchain, error) {
	dir, err := fetchWheels()
	if err != nil {
		return nil, err
	}
	// libnvrtc opens its built-ins by name alone.
	if _, err := purego.Dlopen(filepath.Join(dir, "libnvrtc-builtins.so.12.4"), purego.RTLD_NOW|purego.RTLD_GLOBAL); err != nil {
		return nil, fmt.Errorf("%w: %w", errNoToolchain, err)
	}
	library, err := purego.Dlopen(filepath.Join(dir, "libnvrtc.so.12"), purego.RTLD_NOW|purego.RTLD_GLOBAL)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoToolchain, err)
	}
	return &toolchain{library: library, ptxas: filepath.Join(dir, "ptxas")}, nil
}

// call calls a function of NVRTC; 0 is success.
//
//go:uintptrescapes
func (c *toolchain) call(name string, args ...uintptr) error {
	f, err := purego.Dlsym(c.library, name)
	if err != nil {
		return err
	}
	if r, _, _ := purego.SyscallN(f, args...); int32(r) != 0 {
		return fmt.Errorf("%s answers %d", name, int32(r))
	}
	return nil
}

// strings0 is an array of C strings that stays where it is until its pinner lets go.
func strings0(pin *runtime.Pinner, list []string) []*byte {
	out := make([]*byte, len(list)+1)
	pin.Pin(&out[0])
	for i, s := range list {
		b := append([]byte(s), 0)
		pin.Pin(&b[0])
		out[i] = &b[0]
	}
	return out
}

// compile turns one source into PTX. Headers are given by name, so that no path of this machine gets into the result.
func (c *toolchain) compile(name, text string, headers map[string]string) ([]byte, error) {
	var pin runtime.Pinner
	defer pin.Unpin()
	names := slices.Sorted(maps.Keys(headers))
	contents := make([]string, len(names))
	for i, n := range names {
		contents[i] = headers[n]
	}
	source, include, content, opts := strings0(&pin, []string{text, name}), strings0(&pin, names), strings0(&pin, contents), strings0(&pin, options)
	var program uintptr
	err := c.call("nvrtcCreateProgram", uintptr(unsafe.Pointer(&program)), uintptr(unsafe.Pointer(source[0])), uintptr(unsafe.Pointer(source[1])),
		uintptr(len(names)), uintptr(unsafe.Pointer(&content[0])), uintptr(unsafe.Pointer(&include[0])))
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.call("nvrtcDestroyProgram", uintptr(unsafe.Pointer(&program))) }()
	if err := c.call("nvrtcCompileProgram", program, uintptr(len(options)), uintptr(unsafe.Pointer(&opts[0]))); err != nil {
		log, logErr := c.text(program, "nvrtcGetProgramLogSize", "nvrtcGetProgramLog")
		return nil, errors.Join(fmt.Errorf("compile %s: %w\n%s", name, err, log), logErr)
	}
	return c.text(program, "nvrtcGetPTXSize", "nvrtcGetPTX")
}

// text fetches one of a program's texts without its final zero.
func (c *toolchain) text(program uintptr, size, get string) ([]byte, error) {
	var n uint64
	if err := c.call(size, program, uintptr(unsafe.Pointer(&n))); err != nil || n == 0 {
		return nil, err
	}
	b := make([]byte, n)
	err := c.call(get, program, uintptr(unsafe.Pointer(&b[0])))
	return b[:n-1], err
}

// sourceLine is the first line of a PTX file: a test compares it with the source, without a compiler.
func sourceLine(name string, text []byte) string {
	return fmt.Sprintf("// %s %x\n", name, sha256.Sum256([]byte(strings.ReplaceAll(string(text), "\r\n", "\n"))))
}

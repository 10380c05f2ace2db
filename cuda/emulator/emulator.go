// Package emulator builds the emulated CUDA device: a shared library with the driver API of libcuda.so.1 that runs the kernels' own
// sources, compiled as C++, on one processor core. Tests hand its path to the driver in place of libcuda; the program ships none of it.
package emulator

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// ErrNoCompiler is what Build answers where the library cannot be made, a reason to skip a test: no g++, or another processor.
var ErrNoCompiler = errors.New("the emulated CUDA device needs g++ on linux/amd64")

// unit is one source file of the library.
type unit struct {
	source string // absolute
	flags  []string
	object string
}

// Build compiles the emulated driver with the kernels of cuda/kernels, and those of more folders, and returns the library's path in
// the user's cache. Only what changed is compiled; processes that build at the same time wait for each other.
func Build(more ...string) (string, error) {
	compiler, err := exec.LookPath("g++")
	if err != nil || runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		return "", ErrNoCompiler
	}
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache for the emulated device: %w", err)
	}
	cache = filepath.Join(cache, "lathe", "emulator")
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", fmt.Errorf("make the cache for the emulated device: %w", err)
	}
	unlock, err := lock(filepath.Join(cache, "lock"))
	if err != nil {
		return "", fmt.Errorf("lock the cache of the emulated device: %w", err)
	}
	defer unlock()
	return build(compiler, root, cache, more)
}

func build(compiler, root, cache string, more []string) (string, error) {
	units, err := listUnits(compiler, root, cache, more)
	if err != nil {
		return "", err
	}
	if err := compileAll(compiler, units); err != nil {
		return "", err
	}
	h := sha256.New()
	objects := make([]string, len(units))
	for i, u := range units {
		objects[i] = u.object
		fmt.Fprintln(h, filepath.Base(u.object))
	}
	library := filepath.Join(cache, "libcuda-emulated-"+hex.EncodeToString(h.Sum(nil))[:24]+".so")
	if touch(library) {
		return library, nil
	}
	prune(cache)
	args := append([]string{"-shared", "-static-libstdc++", "-static-libgcc", "-Wl,-z,now", "-Wl,--exclude-libs,ALL"}, objects...)
	return library, compile(compiler, filepath.Dir(library), library, append(args, "-lpthread", "-lm"))
}

// listUnits finds the sources: the emulator's, and a .cu for each module.
func listUnits(compiler, root, cache string, more []string) ([]unit, error) {
	src, kernels := filepath.Join(root, "cuda", "emulator", "src"), filepath.Join(root, "cuda", "kernels")
	folders := append([]string{kernels}, more...)
	base, err := version(compiler)
	if err != nil {
		return nil, err
	}
	// Headers are few and included nearly everywhere: one that changes recompiles all that could see it.
	own, err := hashFiles(base, src, "*.h")
	if err != nil {
		return nil, err
	}
	shared := own
	for _, dir := range folders {
		if shared, err = hashFiles(shared, dir, "*.h"); err != nil {
			return nil, err
		}
	}
	var units []unit
	add := func(pattern, seed string, flags func(name string) []string) error {
		files, err := filepath.Glob(pattern)
		if err != nil {
			return err
		}
		for _, f := range files {
			u := unit{source: f, flags: flags(strings.TrimSuffix(filepath.Base(f), filepath.Ext(f)))}
			sum, err := hashFiles(seed+strings.Join(u.flags, " "), filepath.Dir(f), filepath.Base(f))
			if err != nil {
				return err
			}
			u.object = filepath.Join(cache, filepath.Base(f)+"-"+sum[:24]+".o")
			units = append(units, u)
		}
		return nil
	}
	if err := add(filepath.Join(src, "*.cpp"), own, func(string) []string { return driverFlags() }); err != nil {
		return nil, err
	}
	for _, dir := range folders {
		if err := add(filepath.Join(dir, "*.cu"), shared, func(name string) []string { return kernelFlags(name, src, kernels) }); err != nil {
			return nil, err
		}
	}
	if len(units) == 0 {
		return nil, fmt.Errorf("no sources of the emulated device in %s: run it in a checkout of the repository", root)
	}
	return units, nil
}

func commonFlags() []string {
	flags := []string{
		"-c", "-std=c++17", "-O2", "-fPIC", "-fvisibility=hidden", "-fno-strict-aliasing", "-fno-math-errno", "-fno-trapping-math",
		"-fcf-protection=none", "-fno-stack-protector", "-w",
	}
	if hasAVX2() {
		flags = append(flags, "-march=x86-64-v3")
	}
	return flags
}

// driverFlags let the compiler fuse in the emulator's own mma, whose products are exact either way.
func driverFlags() []string { return append(commonFlags(), "-ffp-contract=fast", "-mno-red-zone") }

// kernelFlags: no contraction, so that a result does not hang on what the compiler saw (fmaf is one rounding in any case), and a
// trap for an index outside of its array and for an access that the device would refuse as not aligned. A large frame touches each of
// its pages, so that it cannot jump over the one that ends a stack.
func kernelFlags(name, src, kernels string) []string {
	return append(commonFlags(), "-ffp-contract=off", "-x", "c++", "-DEMU_MODULE="+name, "-I", src, "-I", kernels,
		"-fstack-clash-protection", "-fsanitize=alignment,bounds", "-fsanitize-undefined-trap-on-error")
}

func version(compiler string) (string, error) {
	out, err := exec.Command(compiler, "-dumpfullversion", "-dumpmachine").Output()
	if err != nil {
		return "", fmt.Errorf("ask g++ for its version: %w", err)
	}
	return string(out), nil
}

func hashFiles(seed, dir, pattern string) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, seed)
	files, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		return "", err
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			return "", fmt.Errorf("read a source of the emulated device: %w", err)
		}
		fmt.Fprintln(h, filepath.Base(f), len(data))
		_, _ = io.Copy(h, bytes.NewReader(data))
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func compileAll(compiler string, units []unit) error {
	var wg sync.WaitGroup
	slots := make(chan struct{}, runtime.NumCPU())
	errs := make([]error, len(units))
	for i, u := range units {
		if touch(u.object) {
			continue
		}
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			// From the source's own folder, so that messages name the file and not the machine's paths.
			errs[i] = compile(compiler, filepath.Dir(u.source), u.object, append(slices.Clone(u.flags), filepath.Base(u.source)))
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// compile runs g++ into a temporary name and renames.
func compile(compiler, dir, output string, args []string) error {
	temporary := fmt.Sprintf("%s.%d", output, os.Getpid())
	cmd := exec.Command(compiler, append(args, "-o", temporary)...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		_ = os.Remove(temporary)
		return fmt.Errorf("compile %s for the emulated device: %w\n%s", filepath.Base(output), err, out)
	}
	return os.Rename(temporary, output)
}

// touch tells whether a file is there, and marks it as used.
func touch(path string) bool {
	now := time.Now()
	return os.Chtimes(path, now, now) == nil
}

// prune removes what no build has used for a week.
func prune(cache string) {
	entries, _ := os.ReadDir(cache)
	for _, e := range entries {
		if info, err := e.Info(); err == nil && e.Name() != "lock" && time.Since(info.ModTime()) > 7*24*time.Hour {
			_ = os.Remove(filepath.Join(cache, e.Name()))
		}
	}
}

// moduleRoot is the repository: where this file was compiled from, or above the working directory (a test runs in its package).
func moduleRoot() (string, error) {
	if _, file, _, ok := runtime.Caller(0); ok && filepath.IsAbs(file) {
		if root := filepath.Dir(filepath.Dir(filepath.Dir(file))); isRoot(root) {
			return root, nil
		}
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		if isRoot(dir) {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("the emulated device is built from a checkout of the repository, and the working directory is in none")
		}
	}
}

func isRoot(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "cuda", "emulator", "src", "emu.h"))
	return err == nil
}

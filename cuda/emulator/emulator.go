// Package emulator builds the emulated CUDA device: a shared library with the driver API of libcuda.so.1 that runs the kernels' own
// sources, compiled as C++, on one processor core. Tests hand its path to the driver in place of libcuda; the program ships none of it.
package emulator

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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

// built are the libraries of this process by the folders that were asked for.
var built = struct {
	sync.Mutex
	paths map[string]string
}{paths: map[string]string{}}

// Build compiles the emulated driver with the kernels of cuda/kernels, and those of more folders, and returns the library's path in
// the user's cache. Only what changed is compiled, and by one of the processes that want it at the same time.
func Build(more ...string) (string, error) {
	built.Lock()
	defer built.Unlock()
	key := strings.Join(more, "\x00")
	if path, ok := built.paths[key]; ok {
		return path, nil
	}
	path, err := find(more)
	if err == nil {
		built.paths[key] = path
	}
	return path, err
}

func find(more []string) (string, error) {
	compiler, root, cache, err := places()
	if err != nil {
		return "", err
	}
	return build(compiler, root, cache, more)
}

// places are what a build needs: the compiler, the repository and the folder of what was built before.
func places() (compiler, root, cache string, err error) {
	compiler, err = exec.LookPath("g++")
	if err != nil || runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		return "", "", "", ErrNoCompiler
	}
	if root, err = moduleRoot(); err != nil {
		return "", "", "", err
	}
	if cache, err = os.UserCacheDir(); err != nil {
		return "", "", "", fmt.Errorf("find the cache for the emulated device: %w", err)
	}
	cache = filepath.Join(cache, "lathe", "emulator")
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", "", "", fmt.Errorf("make the cache for the emulated device: %w", err)
	}
	return compiler, root, cache, nil
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
	var units []unit
	add := func(pattern string, flags func(name string) []string) error {
		files, err := filepath.Glob(pattern)
		if err != nil {
			return err
		}
		for _, f := range files {
			u := unit{source: f, flags: flags(strings.TrimSuffix(filepath.Base(f), filepath.Ext(f)))}
			h := sha256.New()
			// The sources' own place is no part of it: another checkout of the same sources finds the same objects.
			fmt.Fprintln(h, base, strings.ReplaceAll(strings.Join(u.flags, " "), root, ""))
			if err := hashIncluded(h, map[string]bool{}, f, []string{src, kernels}); err != nil {
				return fmt.Errorf("read a source of the emulated device: %w", err)
			}
			u.object = filepath.Join(cache, fmt.Sprintf("%s-%x.o", filepath.Base(f), h.Sum(nil)[:12]))
			units = append(units, u)
		}
		return nil
	}
	if err := add(filepath.Join(src, "*.cpp"), func(string) []string { return driverFlags() }); err != nil {
		return nil, err
	}
	for _, dir := range folders {
		if err := add(filepath.Join(dir, "*.cu"), func(name string) []string { return kernelFlags(name, src, kernels) }); err != nil {
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
		"-U_FORTIFY_SOURCE", // a default of some distributions, whose memset cannot be inlined where vector registers are forbidden
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

var includeLine = regexp.MustCompile(`(?m)^\s*#\s*include\s*"([^"]+)"`)

// hashIncluded hashes a source and, once each, the files of ours that it includes, as the preprocessor would find them.
func hashIncluded(h io.Writer, seen map[string]bool, file string, folders []string) error {
	if seen[file] {
		return nil
	}
	seen[file] = true
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	fmt.Fprintf(h, "%s %d\n%s", filepath.Base(file), len(data), data)
	for _, m := range includeLine.FindAllSubmatch(data, -1) {
		for _, dir := range append([]string{filepath.Dir(file)}, folders...) {
			path := filepath.Join(dir, string(m[1]))
			if _, err := os.Stat(path); err != nil {
				continue
			}
			if err := hashIncluded(h, seen, path, folders); err != nil {
				return err
			}
			break
		}
	}
	return nil
}

func compileAll(compiler string, units []unit) error {
	var wg sync.WaitGroup
	slots := make(chan struct{}, runtime.NumCPU())
	errs := make([]error, len(units))
	for i, u := range units {
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

// compile makes a file unless it is there: g++ writes a temporary name, which is renamed.
func compile(compiler, dir, output string, args []string) error {
	if touch(output) {
		return nil
	}
	unlock, err := lock(output + ".lock")
	if err != nil {
		return fmt.Errorf("lock the cache of the emulated device: %w", err)
	}
	defer unlock()
	if touch(output) { // another process was faster
		return nil
	}
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
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > 7*24*time.Hour {
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

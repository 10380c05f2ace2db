// Command kernels compiles cuda/kernels/*.cu to the PTX that is committed beside them.
//
//	go run ./tools/kernels          # compile all, write cuda/kernels/ptx/NAME.ptx and NAME.json
//	go run ./tools/kernels gemm     # only these modules
//	go run ./tools/kernels -check   # compile and compare; exit 1 on a difference, 3 where the compiler cannot be had. What this
//	                                # machine has found to belong together is not compiled again
//	go run ./tools/kernels -sass tools/roofline/sass.json # count the machine code of the committed PTX, for docs/GPU.md
//
// The compiler is NVRTC 12.4 and the assembler that reports registers and spills ptxas 12.4, both from PyPI's wheels: no CUDA toolkit and no
// GPU. They are kept in the user's cache.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
)

// errNoToolchain: the wheels cannot be had here.
var errNoToolchain = errors.New("no CUDA compiler")

func main() {
	err := run(os.Args[1:], os.Stdout)
	switch {
	case err == nil:
	case errors.Is(err, errNoToolchain):
		fmt.Fprintln(os.Stderr, "kernels:", err)
		os.Exit(3)
	default:
		fmt.Fprintln(os.Stderr, "kernels:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("kernels", flag.ContinueOnError)
	check := flags.Bool("check", false, "compare with the committed files instead of writing them")
	sass := flags.String("sass", "", "count the machine code of the committed PTX into this file")
	dir := flags.String("dir", "cuda/kernels", "folder of the sources")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *sass != "" {
		return countSASS(filepath.Join(*dir, "ptx"), *sass)
	}
	modules, err := readModules(*dir, flags.Args())
	if err != nil {
		return err
	}
	all := flags.NArg() == 0
	if *check {
		return checkModules(out, *dir, modules, all)
	}
	wanted, err := buildAll(out, modules)
	if err != nil {
		return err
	}
	return writeAll(filepath.Join(*dir, "ptx"), wanted, all)
}

// module is one .cu file with all headers that it may include.
type module struct {
	name, text string
	headers    map[string]string
}

// files are those of a module in ptx/.
func (m module) files() []string { return []string{m.name + ".ptx", m.name + ".json"} }

// readModules reads the modules of a folder: those that are named, or all.
func readModules(dir string, names []string) ([]module, error) {
	sources, err := filepath.Glob(filepath.Join(dir, "*.cu"))
	if err != nil || len(sources) == 0 {
		return nil, fmt.Errorf("no *.cu in %s: run it from the repository's root", dir)
	}
	headers, err := readHeaders(dir)
	if err != nil {
		return nil, err
	}
	var modules []module
	for _, source := range sources {
		name := strings.TrimSuffix(filepath.Base(source), ".cu")
		if len(names) > 0 && !slices.Contains(names, name) {
			continue
		}
		text, err := os.ReadFile(source)
		if err != nil {
			return nil, fmt.Errorf("read a kernel: %w", err)
		}
		modules = append(modules, module{name, string(text), headers})
	}
	if len(names) > 0 && len(modules) != len(names) {
		return nil, fmt.Errorf("%s has not every one of %s", dir, strings.Join(names, ", "))
	}
	return modules, nil
}

func readHeaders(dir string) (map[string]string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.h"))
	if err != nil {
		return nil, err
	}
	headers := map[string]string{}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			return nil, fmt.Errorf("read a header of the kernels: %w", err)
		}
		headers[filepath.Base(f)] = string(data)
	}
	return headers, nil
}

// buildAll compiles modules, as many at a time as there are cores, and returns the files that belong into ptx/ by their names.
func buildAll(out io.Writer, modules []module) (map[string][]byte, error) {
	if len(modules) == 0 {
		return nil, nil
	}
	chain, err := openToolchain()
	if err != nil {
		return nil, err
	}
	wanted, errs := map[string][]byte{}, make([]error, len(modules))
	var wg sync.WaitGroup
	var mu sync.Mutex // of wanted and out
	slots := make(chan struct{}, runtime.NumCPU())
	for i, m := range modules {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			ptx, report, err := chain.build(m)
			mu.Lock()
			defer mu.Unlock()
			if errs[i] = err; err == nil {
				wanted[m.name+".ptx"], wanted[m.name+".json"] = ptx, report
				fmt.Fprintf(out, "%s: %d bytes of PTX\n", m.name, len(ptx))
			}
		})
	}
	wg.Wait()
	return wanted, errors.Join(errs...)
}

// build compiles one module and reports on it.
func (c *toolchain) build(m module) (ptx, report []byte, err error) {
	name := m.name + ".cu"
	if ptx, err = c.compile(name, m.text, m.headers); err != nil {
		return nil, nil, err
	}
	ptx = append([]byte(sourceLine(name, []byte(m.text))), ptx...)
	kernels, err := c.assemble(ptx)
	if err != nil {
		return nil, nil, fmt.Errorf("assemble %s: %w", name, err)
	}
	for kernel, sizes := range kernels {
		for arch, s := range sizes {
			if s.SpillBytes > 0 {
				return nil, nil, fmt.Errorf("kernel %s of %s spills %d bytes of registers on %s with %d registers: use fewer values at a time or a lower KERNEL_BOUNDS", kernel, name, s.SpillBytes, arch, s.Registers)
			}
		}
	}
	report, err = encodeReport(kernels)
	return ptx, report, err
}

// stale lists files of modules that are gone.
func stale(dir string, wanted map[string]bool) []string {
	var gone []string
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if !wanted[e.Name()] && !e.IsDir() {
			gone = append(gone, e.Name())
		}
	}
	return gone
}

func writeAll(dir string, wanted map[string][]byte, all bool) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if all {
		names := map[string]bool{}
		for name := range wanted {
			names[name] = true
		}
		for _, name := range stale(dir, names) {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				return err
			}
		}
	}
	for name, data := range wanted {
		to := filepath.Join(dir, name)
		if err := os.WriteFile(to+".tmp", data, 0o644); err != nil {
			return err
		}
		if err := os.Rename(to+".tmp", to); err != nil {
			return err
		}
	}
	return nil
}

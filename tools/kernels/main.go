// Command kernels compiles cuda/kernels/*.cu to the PTX that is committed beside them.
//
//	go run ./tools/kernels          # compile all, write cuda/kernels/ptx/NAME.ptx and NAME.json
//	go run ./tools/kernels gemm     # only these modules
//	go run ./tools/kernels -check   # compile and compare; exit 1 on a difference, 3 where the compiler cannot be had
//	go run ./tools/kernels -sass tools/roofline/sass.json # count the machine code of the committed PTX, for docs/GPU.md
//
// The compiler is NVRTC 12.4 and the assembler that reports registers and spills ptxas 12.4, both from PyPI's wheels: no CUDA toolkit and no
// GPU. They are kept in the user's cache.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
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
	sources, err := filepath.Glob(filepath.Join(*dir, "*.cu"))
	if err != nil || len(sources) == 0 {
		return fmt.Errorf("no *.cu in %s: run it from the repository's root", *dir)
	}
	probes, err := filepath.Glob("cuda/emulator/testdata/kernels/probe.cu")
	if err != nil {
		return err
	}
	headers, err := readHeaders(*dir)
	if err != nil {
		return err
	}
	chain, err := openToolchain()
	if err != nil {
		return err
	}
	wanted := map[string][]byte{}
	for _, source := range sources {
		name := strings.TrimSuffix(filepath.Base(source), ".cu")
		if flags.NArg() > 0 && !slices.Contains(flags.Args(), name) {
			continue
		}
		ptx, report, err := chain.build(source, headers)
		if err != nil {
			return err
		}
		wanted[name+".ptx"] = ptx
		wanted[name+".json"] = report
		fmt.Fprintf(out, "%s: %d bytes of PTX\n", name, len(ptx))
	}
	ptxDir := filepath.Join(*dir, "ptx")
	if *check {
		// The emulator's test kernels use every wrapper of device.h: the compiler has to take them too.
		for _, probe := range probes {
			if _, _, err := chain.build(probe, headers); err != nil {
				return err
			}
		}
		return compareAll(ptxDir, wanted)
	}
	return writeAll(ptxDir, wanted, flags.NArg() == 0)
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

// build compiles one module and reports on it.
func (c *toolchain) build(source string, headers map[string]string) (ptx, report []byte, err error) {
	text, err := os.ReadFile(source)
	if err != nil {
		return nil, nil, fmt.Errorf("read a kernel: %w", err)
	}
	name := filepath.Base(source)
	if ptx, err = c.compile(name, string(text), headers); err != nil {
		return nil, nil, err
	}
	ptx = append([]byte(sourceLine(name, text)), ptx...)
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

func compareAll(dir string, wanted map[string][]byte) error {
	var differ []string
	for name, data := range wanted {
		have, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !bytes.Equal(have, data) {
			differ = append(differ, name)
		}
	}
	differ = append(differ, stale(dir, wanted)...)
	if len(differ) == 0 {
		return nil
	}
	slices.Sort(differ)
	return fmt.Errorf("%s in %s do not come from the sources: run go run ./tools/kernels and commit what it writes", strings.Join(differ, ", "), dir)
}

// stale lists files of modules that are gone.
func stale(dir string, wanted map[string][]byte) []string {
	var gone []string
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if _, ok := wanted[e.Name()]; !ok && !e.IsDir() {
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
		for _, name := range stale(dir, wanted) {
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

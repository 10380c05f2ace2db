package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// checkModules compiles modules and compares the result with the committed files, but for those that this machine has compared before.
func checkModules(out io.Writer, dir string, modules []module, all bool) error {
	ptxDir := filepath.Join(dir, "ptx")
	proved, err := openProofs()
	if err != nil {
		return err
	}
	// The emulator's test kernels use every wrapper of device.h: the compiler has to take them too.
	probes, err := readModules("cuda/emulator/testdata/kernels", []string{"probe"})
	if err != nil {
		return err
	}
	probes[0].headers = modules[0].headers
	todo := slices.DeleteFunc(slices.Concat(modules, probes), func(m module) bool { return proved.has(m, ptxDir) })
	wanted, err := buildAll(out, todo)
	if err != nil {
		return err
	}
	for _, name := range probes[0].files() {
		delete(wanted, name)
	}
	known := map[string]bool{}
	for _, m := range modules {
		for _, name := range m.files() {
			known[name] = true
		}
	}
	if err := compare(ptxDir, wanted, known, all); err != nil {
		return err
	}
	fmt.Fprintf(out, "%d modules belong to their sources, of which %d were compiled now\n", len(modules)+len(probes), len(todo))
	return proved.add(todo, ptxDir)
}

// compare names the files that are not as wanted, and where all are known those of modules that are gone.
func compare(dir string, wanted map[string][]byte, known map[string]bool, all bool) error {
	var differ []string
	for name, data := range wanted {
		have, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !bytes.Equal(have, data) {
			differ = append(differ, name)
		}
	}
	if all {
		differ = append(differ, stale(dir, known)...)
	}
	if len(differ) == 0 {
		return nil
	}
	slices.Sort(differ)
	return fmt.Errorf("%s in %s do not come from the sources: run go run ./tools/kernels and commit what it writes", strings.Join(differ, ", "), dir)
}

// proofs is a folder with an empty file for each module whose source was compiled here and gave the committed files. Its name is the
// hash of all that counts: the compiler, its options, the source, the headers and the files.
type proofs string

func openProofs() (proofs, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the user's cache: %w", err)
	}
	dir := filepath.Join(cache, "lathe", "kernels-checked")
	return proofs(dir), os.MkdirAll(dir, 0o755)
}

// path is where the proof of a module lies.
func (p proofs) path(m module, ptxDir string) string {
	h := sha256.New()
	put := func(parts ...string) {
		for _, s := range parts {
			fmt.Fprintf(h, "%d %s\n", len(s), s)
		}
	}
	for _, w := range wheels {
		put(w.sha256)
	}
	put(strings.Join(options, " "), strings.Join(architectures, " "), m.name, m.text)
	for _, name := range slices.Sorted(maps.Keys(m.headers)) {
		put(name, m.headers[name])
	}
	for _, name := range m.files() {
		have, _ := os.ReadFile(filepath.Join(ptxDir, name)) // a probe has none
		put(string(have))
	}
	return filepath.Join(string(p), fmt.Sprintf("%x", h.Sum(nil)))
}

func (p proofs) has(m module, ptxDir string) bool {
	_, err := os.Stat(p.path(m, ptxDir))
	return err == nil
}

func (p proofs) add(modules []module, ptxDir string) error {
	for _, m := range modules {
		if err := os.WriteFile(p.path(m, ptxDir), nil, 0o644); err != nil {
			return err
		}
	}
	return nil
}

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"lathe/cuda/emulator"
)

// sizeLimit is what a folder may take, so that it travels in one call to a lent machine.
const sizeLimit = 60 << 20

// packing is one `gpucheck pack`.
type packing struct {
	root, out    string
	emulator     bool
	archive      bool
	bitsandbytes string
}

func pack(args []string, stdout io.Writer) error {
	var p packing
	f := flag.NewFlagSet("gpucheck pack", flag.ContinueOnError)
	f.StringVar(&p.out, "out", "", "folder to make (needed)")
	f.BoolVar(&p.archive, "archive", false, "write FOLDER.tar.gz too, a third of its size")
	f.BoolVar(&p.emulator, "emulator", false, "add the emulated driver, for a rehearsal (needs g++ on linux/amd64)")
	f.StringVar(&p.bitsandbytes, "bitsandbytes", "", "an installed bitsandbytes package to take along, for a host that has torch alone: its folder in site-packages; of its libraries those for CUDA 13")
	if err := f.Parse(args); err != nil {
		return err
	}
	if p.out == "" || f.NArg() > 0 {
		return errors.New("give --out FOLDER and no other argument; -h lists the flags")
	}
	var err error
	if p.root, err = moduleRoot(); err != nil {
		return err
	}
	if p.out, err = filepath.Abs(p.out); err != nil {
		return err
	}
	for _, step := range []func() error{p.binary, p.references, p.scripts, p.python, p.emulated, p.compress} {
		if err := step(); err != nil {
			return fmt.Errorf("pack: %w", err)
		}
	}
	return p.tell(stdout)
}

// moduleRoot is the checkout that the working directory is in.
func moduleRoot() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	mod := strings.TrimSpace(string(out))
	if err != nil || filepath.Base(mod) != "go.mod" {
		return "", errors.New("pack builds the binaries: run it with Go in a checkout of the repository")
	}
	return filepath.Dir(mod), nil
}

func (p packing) command(name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir = p.root
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", name, args[0], err, stderr.String())
	}
	return strings.TrimSpace(string(out)), nil
}

// binary builds this program, which holds lathe.
func (p packing) binary() error {
	from := "unknown"
	if hash, err := p.command("git", "rev-parse", "--short=12", "HEAD"); err == nil {
		from = hash
		if changed, err := p.command("git", "status", "--porcelain", "--untracked-files=no"); err != nil || changed != "" {
			from += " with changes"
		}
	}
	flags := "-s -w -X 'main.commit=" + from + "'"
	_, err := p.command("go", "build", "-trimpath", "-ldflags", flags, "-o", filepath.Join(p.out, "gpucheck"), "./tools/gpucheck")
	return err
}

// references copies the reference models and runs without the dumps that only other tests read.
func (p packing) references() error {
	from, to := filepath.Join(p.root, "testdata", "ref"), filepath.Join(p.out, "testdata", "ref")
	runs, err := filepath.Glob(filepath.Join(from, "*", "train-*", "run.yaml"))
	if err != nil {
		return err
	}
	if len(runs) == 0 {
		return fmt.Errorf("no reference runs in %s", from)
	}
	models := map[string]bool{filepath.Join(from, "llama-gqa-nf4"): true} // which bitsandbytes quantised
	for _, run := range runs {
		folder := filepath.Dir(run)
		if strings.HasSuffix(folder, "prefix-projection") { // PEFT's files lack the projection that these start from
			continue
		}
		models[filepath.Dir(folder)] = true
		losses, err := filepath.Glob(filepath.Join(folder, "losses*.json"))
		if err != nil {
			return err
		}
		for _, file := range append(losses, run, filepath.Join(folder, "rows.jsonl")) {
			if err := copyFile(file, to, from); err != nil {
				return err
			}
		}
		text, err := os.ReadFile(run)
		if err != nil {
			return err
		}
		if adapter := yamlValue(string(text), "adapter_name_or_path"); adapter != "" {
			if err := copyTree(filepath.Join(folder, adapter), to, from); err != nil {
				return err
			}
		}
	}
	for dir := range models {
		files, err := filepath.Glob(filepath.Join(dir, "*.*"))
		if err != nil {
			return err
		}
		for _, name := range files {
			if err := copyFile(name, to, from); err != nil {
				return err
			}
		}
	}
	return nil
}

// yamlValue is the value of a key at the left margin.
func yamlValue(text, key string) string {
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(line, key+": "); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

func copyTree(dir, to, from string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		return copyFile(path, to, from)
	})
}

// copyFile copies a file below from to the same place below to.
func copyFile(path, to, from string) error {
	rel, err := filepath.Rel(from, path)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	target := filepath.Join(to, rel)
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	return os.WriteFile(target, data, 0o644)
}

// scripts start the program by names that need no explanation.
func (p packing) scripts() error {
	for name, text := range map[string]string{
		"gpucheck.sh": "# Checks and measures the CUDA device here; see gpucheck run -h.\nexec \"$(dirname \"$0\")/gpucheck\" run \"$@\"\n",
		"lathe":       "# lathe itself, as its own binary has it.\nexec \"$(dirname \"$0\")/gpucheck\" lathe \"$@\"\n",
	} {
		if err := os.WriteFile(filepath.Join(p.out, name), []byte("#!/bin/sh\n"+text), 0o755); err != nil {
			return err
		}
	}
	return nil
}

// python takes bitsandbytes along. Its wheel holds a library of 20 MB for each CUDA version.
func (p packing) python() error {
	if p.bitsandbytes == "" {
		return nil
	}
	if _, err := os.Stat(filepath.Join(p.bitsandbytes, "functional.py")); err != nil {
		return fmt.Errorf("--bitsandbytes %s: give the folder bitsandbytes of a site-packages", p.bitsandbytes)
	}
	site := filepath.Dir(p.bitsandbytes)
	return filepath.WalkDir(p.bitsandbytes, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name := d.Name()
		if strings.HasSuffix(name, ".pyc") || strings.HasSuffix(name, ".so") && !strings.Contains(name, "_cuda13") && !strings.Contains(name, "_cpu") {
			return nil
		}
		return copyFile(path, filepath.Join(p.out, "site"), site)
	})
}

func (p packing) emulated() error {
	if !p.emulator {
		return nil
	}
	library, err := emulator.Build()
	if err != nil {
		return err
	}
	data, err := os.ReadFile(library)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(p.out, emulatedDriver), data, 0o755)
}

// tell says how large the folder is, and refuses one that will not travel.
func (p packing) tell(stdout io.Writer) error {
	var size int64
	files := 0
	err := filepath.WalkDir(p.out, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			size += info.Size()
			files++
		}
		return err
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%s: %d files, %.1f MiB\n", p.out, files, float64(size)/(1<<20))
	if info, err := os.Stat(p.out + archiveSuffix); err == nil && p.archive {
		fmt.Fprintf(stdout, "%s: %.1f MiB\n", p.out+archiveSuffix, float64(info.Size())/(1<<20))
	}
	if size > sizeLimit {
		return fmt.Errorf("that is more than the %d MiB that may travel", sizeLimit>>20)
	}
	return nil
}

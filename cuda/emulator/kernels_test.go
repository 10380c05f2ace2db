//go:build linux

package emulator

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/ebitengine/purego"
)

var entryName = regexp.MustCompile(`\.entry (\w+)\(`)

// The kernels that were compiled for the emulated device are those of the PTX, with the same arguments.
func TestKernelsAreThoseOfThePTX(t *testing.T) {
	d := open(t)
	f, err := purego.Dlsym(d.library, "lathe_emu_kernels")
	if err != nil {
		t.Fatal(err)
	}
	text, _, _ := purego.SyscallN(f)
	compiled := map[string]bool{}
	for line := range strings.Lines(goString(text)) {
		compiled[strings.TrimSpace(line)] = true
	}
	files, err := filepath.Glob("../kernels/ptx/*.ptx")
	if err != nil || len(files) == 0 {
		t.Fatal("no PTX", err)
	}
	for _, file := range files {
		ptx, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		module := strings.TrimSuffix(filepath.Base(file), ".ptx")
		for _, e := range entryName.FindAllStringSubmatch(string(ptx), -1) {
			d.function(module, e[1]) // compares the arguments
			if !compiled[module+" "+e[1]] {
				t.Errorf("kernel %s of %s.ptx is not in %s.cu", e[1], module, module)
			}
			delete(compiled, module+" "+e[1])
		}
	}
	for k := range compiled {
		if !strings.HasPrefix(k, "probe ") && !strings.HasPrefix(k, "wrong ") {
			t.Errorf("kernel %s is in no PTX: run go run ./tools/kernels", k)
		}
	}
}

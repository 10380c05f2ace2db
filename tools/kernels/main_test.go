package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const committed = "../../cuda/kernels"

func read(t *testing.T, elements ...string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(elements...))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func modules(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(committed, "*.cu"))
	if err != nil || len(files) == 0 {
		t.Fatal("no kernels", err)
	}
	for i, f := range files {
		files[i] = strings.TrimSuffix(filepath.Base(f), ".cu")
	}
	return files
}

var (
	kernelName = regexp.MustCompile(`(?m)^KERNEL(?:_BOUNDS)?\((\w+)\b`)
	entryName  = regexp.MustCompile(`\.entry (\w+)\(`)
	ptxVersion = regexp.MustCompile(`(?m)^\.version (\d+)\.(\d+)$`)
	floatAtom  = regexp.MustCompile(`\b(?:atom|red)\.[\w.:]*\.(?:b?f16|f32|f64)\S*`)
)

// The committed PTX is that of the committed sources as far as the files tell; -check compiles them.
func TestPTXBelongsToItsSource(t *testing.T) {
	for _, m := range modules(t) {
		source, ptx := read(t, committed, m+".cu"), read(t, committed, "ptx", m+".ptx")
		if !strings.HasPrefix(ptx, sourceLine(m+".cu", []byte(source))) {
			t.Errorf("ptx/%s.ptx was compiled from another %s.cu: run go run ./tools/kernels %s", m, m, m)
		}
		var entries []string
		for _, e := range entryName.FindAllStringSubmatch(ptx, -1) {
			entries = append(entries, e[1])
		}
		for _, k := range kernelName.FindAllStringSubmatch(source, -1) {
			if !slices.Contains(entries, k[1]) {
				t.Errorf("kernel %s of %s.cu is not in its PTX", k[1], m)
			}
		}
		v := ptxVersion.FindStringSubmatch(ptx)
		if v == nil || number(v[1])*100+number(v[2]) > 804 || !strings.Contains(ptx, "\n.target sm_80\n") {
			t.Errorf("ptx/%s.ptx is %q: drivers from 550 on take 8.4 at most, and GPUs from Ampere on sm_80", m, v)
		}
		if found := floatAtom.FindString(ptx); found != "" {
			t.Errorf("ptx/%s.ptx has %s: a sum of floats by atomics depends on the order of threads", m, found)
		}
	}
}

func TestFloatAtomicsAreSeen(t *testing.T) {
	for _, s := range []string{"atom.global.add.f32 %f1", "red.global.add.f32", "red.global.add.noftz.f16x2", "atom.global.add.f64"} {
		if !floatAtom.MatchString(s) {
			t.Errorf("%s is not seen", s)
		}
	}
	for _, s := range []string{"atom.global.min.u64 %rd1", "red.global.add.u32", "atom.global.cas.b64"} {
		if floatAtom.MatchString(s) {
			t.Errorf("%s is taken for a float's", s)
		}
	}
}

// Every kernel is assembled for every architecture without spilling a register, and within what a block has without asking.
func TestReportsHoldNoSpills(t *testing.T) {
	for _, m := range modules(t) {
		var r report
		if err := json.Unmarshal([]byte(read(t, committed, "ptx", m+".json")), &r); err != nil {
			t.Fatal(m, err)
		}
		for _, e := range entryName.FindAllStringSubmatch(read(t, committed, "ptx", m+".ptx"), -1) {
			for _, arch := range architectures {
				s, ok := r[e[1]][arch]
				if !ok || s.Registers == 0 || s.Registers > 255 {
					t.Errorf("ptx/%s.json says nothing of %s on %s", m, e[1], arch)
				}
				if s.SpillBytes != 0 {
					t.Errorf("%s spills %d bytes on %s", e[1], s.SpillBytes, arch)
				}
				if s.SharedBytes > 48<<10 {
					t.Errorf("%s has %d bytes of static shared memory on %s", e[1], s.SharedBytes, arch)
				}
			}
		}
	}
}

const ptxasOutput = `ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'gemm' for 'sm_80'
ptxas info    : Function properties for gemm
    16 bytes stack frame, 12 bytes spill stores, 8 bytes spill loads
ptxas info    : Used 128 registers, 10240 bytes smem, 388 bytes cmem[0]
ptxas info    : Compiling entry function 'add' for 'sm_80'
ptxas info    : Function properties for add
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 26 registers, 392 bytes cmem[0]
`

func TestReportReadsPtxas(t *testing.T) {
	r := report{}
	if err := r.read("sm_80", ptxasOutput); err != nil {
		t.Fatal(err)
	}
	want := map[string]sizes{"gemm": {Registers: 128, SpillBytes: 20, StackBytes: 16, SharedBytes: 10240}, "add": {Registers: 26}}
	for _, k := range slices.Sorted(maps.Keys(want)) {
		if r[k]["sm_80"] != want[k] {
			t.Errorf("%s: %+v, not %+v", k, r[k]["sm_80"], want[k])
		}
	}
	if err := r.read("sm_80", "ptxas fatal"); err == nil {
		t.Error("no kernel at all is no error")
	}
}

func TestCheckNamesWhatDiffers(t *testing.T) {
	dir := t.TempDir()
	wanted, known := map[string][]byte{"a.ptx": []byte("a"), "b.ptx": []byte("b")}, map[string]bool{"a.ptx": true, "b.ptx": true}
	if err := writeAll(dir, wanted, true); err != nil {
		t.Fatal(err)
	}
	if err := compare(dir, wanted, known, true); err != nil {
		t.Error("what was just written differs:", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "gone.ptx"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	wanted["b.ptx"] = []byte("B")
	err := compare(dir, wanted, known, true)
	if err == nil || !strings.Contains(err.Error(), "b.ptx, gone.ptx") || !strings.Contains(err.Error(), "go run ./tools/kernels") {
		t.Error("a changed and a left-over file:", err)
	}
	if err := writeAll(dir, wanted, true); err != nil {
		t.Fatal(err)
	}
	if err := compare(dir, wanted, known, true); err != nil {
		t.Error("after writing:", err)
	}
}

// A module that was compiled here is known again as long as nothing differs that could change the result.
func TestProofsHangOnEverything(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	proved, err := openProofs()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file("a.ptx", "ptx")
	file("a.json", "json")
	m := module{"a", "text", map[string]string{"h.h": "header"}}
	if proved.has(m, dir) {
		t.Error("proved before it was compiled")
	}
	if err := proved.add([]module{m}, dir); err != nil || !proved.has(m, dir) {
		t.Error("not proved afterwards", err)
	}
	for what, other := range map[string]module{
		"source":       {"a", "texts", m.headers},
		"header":       {"a", "text", map[string]string{"h.h": "headers"}},
		"header added": {"a", "text", map[string]string{"h.h": "header", "i.h": ""}},
	} {
		if proved.has(other, dir) {
			t.Errorf("another %s goes as the same", what)
		}
	}
	for _, name := range m.files() {
		before := read(t, dir, name)
		file(name, before+" ")
		if proved.has(m, dir) {
			t.Errorf("another %s goes as the same", name)
		}
		file(name, before)
	}
	if !proved.has(m, dir) {
		t.Error("the same bytes are another module")
	}
}

// Without pip the message is one line.
func TestNoPip(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	_, err := openToolchain()
	if !errors.Is(err, errNoToolchain) || strings.Contains(fmt.Sprint(err), "\n") {
		t.Errorf("without pip: %v", err)
	}
}

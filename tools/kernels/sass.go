package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// disassembler reads what ptxas 12.4 writes; it is fetched for -sass alone.
var disassembler = wheel{
	"nvidia-cuda-nvdisasm", "13.5.37", "d3fdbdd49fa53e2e4aacd3db8259d052bd2b049ececdcb69e92e083c6728e7ca",
	[]string{"nvidia/cu13/bin/nvdisasm"},
}

// sassArchitectures are those whose machine code is counted: A100's and H100's; 4090's is A100's.
var sassArchitectures = []string{"sm_80", "sm_90"}

// counts are a kernel's instructions, of all its code and of its innermost loop with most products.
type counts struct {
	All  map[string]int `json:"all"`
	Loop map[string]int `json:"loop,omitempty"`
}

// sassModule is a module's kernels by name and architecture, and the hash of the PTX that they were counted from.
type sassModule struct {
	PTX     string                       `json:"ptx"`
	Kernels map[string]map[string]counts `json:"kernels"`
}

// multiplies says whether a module is one of products.
func multiplies(name string, ptx []byte) bool {
	return bytes.Contains(ptx, []byte("mma.sync")) || strings.HasPrefix(name, "gemm32") || strings.HasPrefix(name, "attention_f32")
}

// countSASS writes what the machine code of the committed PTX has of the instructions that matter, of modules of products. Those whose
// PTX is as it was are not counted again.
func countSASS(ptxDir, to string) error {
	dir, err := fetchWheels()
	if err != nil {
		return err
	}
	if err := disassembler.fetch(dir); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(ptxDir, "*.ptx"))
	if err != nil {
		return err
	}
	all, before := map[string]sassModule{}, map[string]sassModule{}
	if data, err := os.ReadFile(to); err == nil {
		if err := json.Unmarshal(data, &before); err != nil {
			return fmt.Errorf("read %s: %w", to, err)
		}
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".ptx")
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if !multiplies(name, text) {
			continue
		}
		hash := fmt.Sprintf("%x", sha256.Sum256(text))
		if m, ok := before[name]; ok && m.PTX == hash {
			all[name] = m
			continue
		}
		m := sassModule{PTX: hash}
		if m.Kernels, err = disassemble(dir, file); err != nil {
			return err
		}
		all[name] = m
	}
	data, err := json.MarshalIndent(all, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(to, append(data, '\n'), 0o644)
}

// disassemble counts one module.
func disassemble(tools, ptx string) (map[string]map[string]counts, error) {
	kernels := map[string]map[string]counts{}
	dir, err := os.MkdirTemp("", "lathe-sass")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	cubin := filepath.Join(dir, "module.cubin")
	for _, arch := range sassArchitectures {
		if out, err := exec.Command(filepath.Join(tools, "ptxas"), "-arch="+arch, "-o", cubin, ptx).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("ptxas -arch=%s %s: %w\n%s", arch, ptx, err, out)
		}
		out, err := exec.Command(filepath.Join(tools, "nvdisasm"), "-c", cubin).Output()
		if err != nil {
			return nil, fmt.Errorf("nvdisasm %s for %s: %w", ptx, arch, err)
		}
		for name, c := range readSASS(string(out)) {
			if kernels[name] == nil {
				kernels[name] = map[string]counts{}
			}
			kernels[name][arch] = c
		}
	}
	return kernels, nil
}

var (
	sassEntry       = regexp.MustCompile(`^\.text\.(\w+):`)
	sassLabel       = regexp.MustCompile(`^(\.L_x_\d+):`)
	sassInstruction = regexp.MustCompile(`^\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+ )?\s*([A-Z][A-Z0-9_]*)((?:\.[A-Z0-9_]+)*)([^;]*);`)
	sassTarget      = regexp.MustCompile(`\.L_x_\d+`)
)

// instruction is one of a kernel's: what it counts as, and where it jumps.
type instruction struct{ kind, target string }

// readSASS counts each kernel that multiplies: by HMMA, or by many FFMA.
func readSASS(text string) map[string]counts {
	const fewest = 128 // FFMA of a kernel of products in float32
	out := map[string]counts{}
	name, code, labels := "", []instruction(nil), map[string]int{}
	end := func() {
		c := counts{All: tally(code)}
		if name != "" && (c.All["HMMA"] > 0 || c.All["FFMA"] >= fewest) {
			c.Loop = tally(loop(code, labels))
			out[name] = c
		}
		code, labels = nil, map[string]int{}
	}
	for line := range strings.Lines(text) {
		if m := sassEntry.FindStringSubmatch(line); m != nil {
			end()
			name = m[1]
		} else if m := sassLabel.FindStringSubmatch(line); m != nil {
			labels[m[1]] = len(code)
		} else if m := sassInstruction.FindStringSubmatch(line); m != nil {
			i := instruction{kind: kindOf(m[1], m[2])}
			if m[1] == "BRA" {
				i.target = sassTarget.FindString(m[3])
			}
			code = append(code, i)
		}
	}
	end()
	return out
}

// kindOf is the name under which an instruction is counted, with the width of its access where that matters.
func kindOf(name, suffix string) string {
	switch name {
	case "LDG", "STG", "LDS", "STS":
		for _, width := range []string{".128", ".64"} {
			if strings.HasSuffix(suffix, width) {
				return name + width
			}
		}
		return name
	case "HMMA", "LDSM", "LDGSTS", "FFMA", "MUFU", "BAR", "SHFL", "LDL", "STL":
		return name
	}
	return ""
}

// tally counts instructions by kind, and all of them as "instructions".
func tally(code []instruction) map[string]int {
	c := map[string]int{}
	for _, i := range code {
		if i.kind != "" {
			c[i.kind]++
		}
		c["instructions"]++
	}
	return c
}

// loop is the code of the loop with most products, of those that hold no other with any: from the target of a branch back to it.
func loop(code []instruction, labels map[string]int) []instruction {
	products := func(part []instruction) (n int) {
		for _, i := range part {
			if i.kind == "HMMA" || i.kind == "FFMA" {
				n++
			}
		}
		return n
	}
	var found [][2]int
	for at, i := range code {
		if to, ok := labels[i.target]; ok && to < at && products(code[to:at]) > 0 {
			found = append(found, [2]int{to, at + 1})
		}
	}
	var best []instruction
	for _, f := range found {
		inner := slices.ContainsFunc(found, func(o [2]int) bool { return o != f && o[0] >= f[0] && o[1] <= f[1] })
		if part := code[f[0]:f[1]]; !inner && products(part) > products(best) {
			best = part
		}
	}
	return best
}

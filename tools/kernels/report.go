package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// architectures that ptxas reports on: A100, RTX 4090, H100 and H200.
var architectures = []string{"sm_80", "sm_89", "sm_90"}

// sizes is what a kernel takes on one architecture.
type sizes struct {
	Registers   int `json:"registers"`
	SpillBytes  int `json:"spill_bytes"`
	StackBytes  int `json:"stack_bytes"`
	SharedBytes int `json:"shared_bytes"` // static
}

// report maps kernel and architecture to sizes.
type report map[string]map[string]sizes

func encodeReport(r report) ([]byte, error) {
	data, err := json.MarshalIndent(r, "", "  ")
	return append(data, '\n'), err
}

// assemble runs ptxas for each architecture.
func (c *toolchain) assemble(ptx []byte) (report, error) {
	dir, err := os.MkdirTemp("", "lathe-ptxas")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	file := filepath.Join(dir, "module.ptx")
	if err := os.WriteFile(file, ptx, 0o600); err != nil {
		return nil, err
	}
	all := report{}
	for _, arch := range architectures {
		out, err := exec.Command(c.ptxas, "-v", "-arch="+arch, "-o", filepath.Join(dir, "module.cubin"), file).CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("ptxas -arch=%s: %w\n%s", arch, err, out)
		}
		if err := all.read(arch, string(out)); err != nil {
			return nil, err
		}
	}
	return all, nil
}

var (
	entryLine = regexp.MustCompile(`Compiling entry function '(\w+)'`)
	stackLine = regexp.MustCompile(`(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads`)
	usedLine  = regexp.MustCompile(`Used (\d+) registers`)
	smemPart  = regexp.MustCompile(`(\d+) bytes smem`)
)

// read takes the lines of ptxas -v, three for each kernel.
func (r report) read(arch, out string) error {
	kernel, s, seen := "", sizes{}, 0
	for line := range strings.Lines(out) {
		if m := entryLine.FindStringSubmatch(line); m != nil {
			kernel, s = m[1], sizes{}
		} else if m := stackLine.FindStringSubmatch(line); m != nil && kernel != "" {
			s.StackBytes, s.SpillBytes = number(m[1]), number(m[2])+number(m[3])
		} else if m := usedLine.FindStringSubmatch(line); m != nil && kernel != "" {
			s.Registers = number(m[1])
			if m := smemPart.FindStringSubmatch(line); m != nil {
				s.SharedBytes = number(m[1])
			}
			if r[kernel] == nil {
				r[kernel] = map[string]sizes{}
			}
			r[kernel][arch] = s
			kernel = ""
			seen++
		}
	}
	if seen == 0 {
		return fmt.Errorf("ptxas -v -arch=%s names no kernel:\n%s", arch, out)
	}
	return nil
}

func number(digits string) int {
	n, _ := strconv.Atoi(digits)
	return n
}

package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// multiprocessor is what one of an architecture holds (CUDA C++ Programming Guide, table of technical specifications per compute
// capability): registers are given to a warp by 256, and a block takes a KiB of shared memory for the system.
type multiprocessor struct {
	name                  string
	warps, blocks, shared int // shared in bytes; a block may have it all but a KiB
}

var multiprocessors = []multiprocessor{
	{"sm_80", 64, 32, 164 << 10},
	{"sm_89", 48, 24, 100 << 10},
	{"sm_90", 64, 32, 228 << 10},
}

const (
	registers    = 65536
	registerUnit = 256 // of a warp
	systemShared = 1 << 10
)

// sizes is what ptxas says of a kernel.
type sizes struct {
	Registers   int `json:"registers"`
	SpillBytes  int `json:"spill_bytes"`
	SharedBytes int `json:"shared_bytes"`
}

// blocks is how many blocks of a kernel a multiprocessor holds; 0 where it cannot hold one.
func (m multiprocessor) resident(s sizes, threads, dynamic int) int {
	warps := (threads + 31) / 32
	perWarp := (s.Registers*32 + registerUnit - 1) / registerUnit * registerUnit
	byRegisters := registers / (perWarp * warps)
	byShared := m.blocks
	if all := s.SharedBytes + dynamic; all > 0 {
		byShared = m.shared / (all + systemShared)
	}
	return min(m.blocks, m.warps/warps, byRegisters, byShared)
}

// reports are ptxas' of all kernels: kernel, then architecture.
func readReports(dir string) (map[string]map[string]sizes, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("no reports of ptxas in %s: run it from the repository's root", dir)
	}
	all := map[string]map[string]sizes{}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(data, &all); err != nil {
			return nil, fmt.Errorf("read %s: %w", f, err)
		}
	}
	return all, nil
}

// counts are a kernel's instructions by kind: of all its code, and of its innermost loop with most products.
type counts struct {
	All  map[string]int `json:"all"`
	Loop map[string]int `json:"loop"`
}

// readSASS reads what `tools/kernels -sass` counted, without modules whose PTX has changed since.
func readSASS(file, ptxDir string) (map[string]map[string]counts, error) {
	var modules map[string]struct {
		PTX     string
		Kernels map[string]map[string]counts
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(data, &modules); err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	all := map[string]map[string]counts{}
	for name, m := range modules {
		ptx, err := os.ReadFile(filepath.Join(ptxDir, name+".ptx"))
		if err != nil || fmt.Sprintf("%x", sha256.Sum256(ptx)) != m.PTX {
			continue
		}
		for kernel, c := range m.Kernels {
			all[kernel] = c
		}
	}
	return all, nil
}

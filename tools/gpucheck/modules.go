package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"lathe/cuda"
)

// moduleTimes is what a process said that loaded all modules.
type moduleTimes struct {
	Open    float64   `json:"open"` // seconds until the device was there
	All     float64   `json:"all"`
	Seconds []float64 `json:"seconds"` // of each module
}

// runModules is the process that loads all modules: `gpucheck modules CUDA:N WORKERS`.
func runModules(args []string, stdout io.Writer) error {
	if len(args) != 2 {
		return fmt.Errorf("modules is for gpucheck itself: use gpucheck run --only modules")
	}
	workers, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	began := time.Now()
	dev, err := options{Device: args[0]}.open()
	if err != nil {
		return err
	}
	defer dev.Close()
	gpu, ok := dev.(*cuda.Device)
	if !ok {
		return fmt.Errorf("--device %s has no modules", args[0])
	}
	said := moduleTimes{Open: time.Since(began).Seconds()}
	began = time.Now()
	times, err := gpu.LoadModules(cuda.Modules(), max(1, workers))
	said.All = time.Since(began).Seconds()
	for _, t := range times {
		said.Seconds = append(said.Seconds, t.Seconds())
	}
	if err != nil {
		return err
	}
	return json.NewEncoder(stdout).Encode(said)
}

// modules times the driver's compilation of the kernels: into the cache of this check by all processors at once, which serves the parts
// that follow; from that cache; and into an empty one, a module after the other.
func modules(c *check) error {
	if c.Device == "cpu" {
		c.skip("the CPU has no modules")
		return nil
	}
	t := c.table("Seconds until a module is loaded", "module", "PTX (KiB)", "all at once, cold", "warm", "one by one, cold")
	runs := []struct {
		what, cache string
		workers     int
	}{
		{"all at once, cold", os.Getenv("CUDA_CACHE_PATH"), runtime.NumCPU()},
		{"warm", os.Getenv("CUDA_CACHE_PATH"), 1},
		{"one by one, cold", filepath.Join(c.Work, "cold-cache"), 1},
	}
	var said []moduleTimes
	for _, r := range runs {
		m, err := c.loadModules(r.cache, r.workers)
		if err != nil {
			return err
		}
		said = append(said, m)
		if c.Known.Rehearsal == "" {
			c.fact(r.what, "%.2f s for %d modules, %d at a time, after %.2f s to open the device", m.All, len(m.Seconds), r.workers, m.Open)
		}
	}
	for i, name := range cuda.Modules() {
		if c.Known.Rehearsal != "" {
			c.row(t, name, cuda.ModuleBytes(name)>>10, "loaded", "loaded", "loaded")
			continue
		}
		c.row(t, name, cuda.ModuleBytes(name)>>10, said[0].Seconds[i], said[1].Seconds[i], said[2].Seconds[i])
	}
	t.Note = "Cold is with an empty cache of the driver's (CUDA_CACHE_PATH), as on a user's first start; lathe loads a module when its first kernel runs."
	return nil
}

// loadModules loads all modules in a process of its own, with a cache.
func (c *check) loadModules(cache string, workers int) (m moduleTimes, err error) {
	self, err := os.Executable()
	if err != nil {
		return m, err
	}
	cmd := exec.Command(self, "modules", c.Device, fmt.Sprint(workers))
	cmd.Env, cmd.Stderr = append(os.Environ(), "CUDA_CACHE_PATH="+cache), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return m, fmt.Errorf("load all modules: %w (its output is in gpucheck.log)", err)
	}
	return m, json.Unmarshal(out, &m)
}

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"lathe/compute/cpu"
	"lathe/cuda/driver"
	"lathe/cuda/nvml"
)

// doctor learns what host and GPU this is; the other parts and the report's title build on it.
func doctor(c *check) error {
	c.host()
	if err := c.identify(); err != nil {
		return err
	}
	c.gauges()
	return c.latheDoctor()
}

// host notes the machine beside the GPU.
func (c *check) host() {
	name := runtime.GOARCH
	if dev, err := cpu.New(cpu.Options{}); err == nil {
		info := dev.Info()
		name = fmt.Sprintf("%s, %d threads, kernels %s, %.0f GiB", info.Name, info.Threads, info.Tier, gib(info.MemoryTotal))
		_ = dev.Close()
	}
	c.fact("host", "%s", name)
	if out, err := exec.Command("ldd", "--version").CombinedOutput(); err == nil {
		c.fact("C library", "%s", firstLine(string(out)))
	}
	var python struct {
		Versions map[string]string `json:"versions"`
	}
	if err := c.script("versions.py", &python); err != nil {
		c.fact("Python", "%v", err)
		return
	}
	var list []string
	for _, k := range slices.Sorted(maps.Keys(python.Versions)) {
		list = append(list, k+" "+python.Versions[k])
	}
	c.fact("Python", "%s", strings.Join(list, ", "))
}

// identify fills c.GPU.
func (c *check) identify() error {
	if c.Device == "cpu" {
		dev, err := cpu.New(cpu.Options{})
		if err != nil {
			return err
		}
		defer dev.Close()
		c.setGPU(gpu{Name: dev.Info().Name, Rehearsal: "CPU"})
		return nil
	}
	lib, err := driver.Open("")
	if err != nil {
		return err
	}
	devices, err := lib.Devices()
	if err != nil {
		return err
	}
	for _, d := range devices {
		if c.Device != fmt.Sprintf("cuda:%d", d.Ordinal) {
			continue
		}
		g := gpu{
			Name: d.Name, Capability: d.Capability(), SMs: d.SMs, Memory: d.Memory, L2: d.L2, ClockMHz: d.ClockMHz,
			CUDA: fmt.Sprintf("%d.%d", lib.Version()/1000, lib.Version()%1000/10),
		}
		if strings.Contains(strings.ToLower(d.Name), "emulated") {
			g.Rehearsal = "EMULATED"
		}
		c.setGPU(g)
		return nil
	}
	return fmt.Errorf("--device %s: this host has cuda:0 to cuda:%d", c.Device, len(devices)-1)
}

func (c *check) setGPU(g gpu) {
	c.GPU = &g
	c.save()
}

// gauges are NVML's and nvidia-smi's words about the GPUs. A host without them is no fault of ours.
func (c *check) gauges() {
	if c.GPU.Rehearsal != "" {
		return
	}
	if text, err := nvml.Check(); err != nil {
		c.fact("NVML", "%v", err)
	} else {
		c.fact("NVML", "%s", text)
	}
	if lib, err := nvml.Open(); err == nil {
		c.GPU.Driver = lib.Driver()
		_ = lib.Close()
	}
	fields := "name,driver_version,memory.total,memory.used,clocks.max.sm,clocks.max.mem,power.limit,temperature.gpu,ecc.mode.current,mig.mode.current,persistence_mode"
	if out, err := exec.Command("nvidia-smi", "--query-gpu="+fields, "--format=csv").Output(); err == nil {
		c.fact("nvidia-smi", "%s", strings.TrimSpace(string(out)))
	} else {
		c.fact("nvidia-smi", "%v", err)
	}
	c.save()
}

// latheDoctor runs the program that users get, as on a first start: with an empty cache of the driver's, and again.
func (c *check) latheDoctor() error {
	cache := "CUDA_CACHE_PATH=" + filepath.Join(c.Work, "doctor-cache")
	var stdout []byte
	var runErr error
	for _, when := range []string{"cold", "warm"} {
		cmd := exec.Command(c.lathe(), "doctor", "--json")
		cmd.Env, cmd.Stderr = append(os.Environ(), cache), os.Stderr
		began := time.Now()
		stdout, runErr = cmd.Output()
		if c.GPU.Rehearsal == "" {
			c.fact("lathe doctor, "+when, "%.1f s, the driver's compilation of the kernels of its self-test included", time.Since(began).Seconds())
		}
	}
	var said struct {
		Version string `json:"version"`
		Checks  []struct {
			Name, Text, Cost string
			OK               bool
		}
	}
	if err := json.Unmarshal(stdout, &said); err != nil {
		return errors.Join(fmt.Errorf("lathe doctor: %w", err), runErr)
	}
	found := c.Device == "cpu"
	for _, k := range said.Checks {
		state := "ok, "
		if !k.OK {
			state = "missing, "
		}
		c.fact("doctor: "+k.Name, "%s", state+k.Text)
		if k.Name == c.Device {
			found = true
			if !k.OK {
				c.fail("lathe doctor: %s: %s", k.Name, k.Text)
			}
		}
	}
	if !found {
		c.fail("lathe doctor does not show %s", c.Device)
	}
	if runErr != nil {
		c.fail("lathe doctor: %v", runErr)
	}
	return nil
}

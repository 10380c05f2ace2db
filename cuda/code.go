package cuda

import (
	"embed"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"lathe/cuda/driver"
)

//go:embed kernels/ptx/*.ptx
var ptx embed.FS

// code holds the kernels that were needed so far: a module is compiled for the GPU when its first kernel runs, which the
// driver remembers between processes (~/.nv/ComputeCache).
type code struct {
	ctx       *driver.Context
	modules   map[string]*driver.Module
	functions map[string]driver.Function
	shared    map[string]int // dynamic shared memory that a kernel may have, where more than sharedBytes
}

// minCapability is what the PTX is compiled for: Ampere, the first with bfloat16 products and asynchronous copies.
const minCapability = 80

func newCode(ctx *driver.Context, capability int) (*code, error) {
	if capability < minCapability {
		return nil, fmt.Errorf("this GPU has compute capability %d.%d, lathe's kernels need 8.0 (Ampere, 2020) or later: use --device cpu",
			capability/10, capability%10)
	}
	return &code{ctx: ctx, modules: map[string]*driver.Module{}, functions: map[string]driver.Function{}, shared: map[string]int{}}, nil
}

// function is the kernel of a name MODULE.KERNEL.
func (c *code) function(name string) (driver.Function, error) {
	if f, ok := c.functions[name]; ok {
		return f, nil
	}
	module, kernel, _ := strings.Cut(name, ".")
	m, err := c.module(module)
	if err != nil {
		return driver.Function{}, err
	}
	f, err := m.Function(kernel)
	if err != nil {
		return driver.Function{}, fmt.Errorf("kernel %s: %w", name, err)
	}
	c.functions[name] = f
	return f, nil
}

// sharedBytes of dynamic shared memory every kernel may have; for more the driver wants to be asked.
const sharedBytes = 48 << 10

// allow lets a kernel be launched with so many bytes of dynamic shared memory.
func (c *code) allow(f driver.Function, bytes int) error {
	if bytes <= max(sharedBytes, c.shared[f.Name()]) {
		return nil
	}
	c.shared[f.Name()] = bytes
	return c.ctx.SetMaxShared(f, bytes)
}

func (c *code) module(name string) (*driver.Module, error) {
	if m, ok := c.modules[name]; ok {
		return m, nil
	}
	m, err := c.load(name)
	if err == nil {
		c.modules[name] = m
	}
	return m, err
}

// readPTX is a module's PTX.
func readPTX(name string) ([]byte, error) { return ptx.ReadFile("kernels/ptx/" + name + ".ptx") }

// load has the driver compile a module, unless it remembers it.
func (c *code) load(name string) (*driver.Module, error) {
	image, err := readPTX(name)
	if err != nil {
		return nil, fmt.Errorf("kernels of %s: %w", name, err)
	}
	m, err := c.ctx.Load(image)
	if err != nil {
		return nil, fmt.Errorf("compile kernels of %s for this GPU: %w", name, err)
	}
	return m, nil
}

// Modules are the names of the kernels' modules.
func Modules() (names []string) {
	files, _ := ptx.ReadDir("kernels/ptx")
	for _, f := range files {
		names = append(names, strings.TrimSuffix(f.Name(), ".ptx"))
	}
	return names
}

// ModuleBytes is the size of a module's PTX.
func ModuleBytes(name string) int {
	image, _ := readPTX(name)
	return len(image)
}

// LoadModules loads modules that are not there yet, so many at a time, and returns how long each took: the driver compiles what it does
// not remember.
func (d *Device) LoadModules(names []string, workers int) ([]time.Duration, error) {
	times, loaded, errs := make([]time.Duration, len(names)), make([]*driver.Module, len(names)), make([]error, len(names))
	var wg sync.WaitGroup
	slots := make(chan struct{}, workers)
	for i, name := range names {
		if d.code.modules[name] != nil {
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			began := time.Now()
			loaded[i], errs[i] = d.code.load(name)
			times[i] = time.Since(began)
			<-slots
		})
	}
	wg.Wait()
	for i, m := range loaded {
		if m != nil {
			d.code.modules[names[i]] = m
		}
	}
	return times, errors.Join(errs...)
}

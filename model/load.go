package model

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"lathe/compute"
	"lathe/model/safetensors"
)

// deviceType is the type that a stored tensor has on a device.
func deviceType(t safetensors.DType) (compute.DType, error) {
	switch t {
	case safetensors.F32, safetensors.F64:
		return compute.F32, nil
	case safetensors.BF16:
		return compute.BF16, nil
	case safetensors.F16:
		return compute.F16, nil
	}
	return 0, fmt.Errorf("weights of type %s are not supported (F32, BF16, F16 or F64)", t)
}

// stored is how a tensor lies in its file: the type that it has on a device before it takes the form in which it is held, or
// how it was quantised before it was saved.
type stored struct {
	dtype compute.DType
	quant *prequantized // or nil
}

// Load reads the weights. Beyond the model itself it takes some megabytes of the file, and on a device with memory of its own one tensor as
// it is stored. progress (or nil) gets bytes read and bytes in all. A weight that is not finite is an error naming its tensor.
func Load(dev compute.Device, f *Files, o LoadOptions, progress func(done, total int64)) (*Model, error) {
	b, err := newBase(dev, f.Config, o, f.stored)
	if err != nil {
		return nil, fmt.Errorf("load model: %w", err)
	}
	b.files = f.Dir
	if err := b.load(f, progress); err != nil {
		b.free()
		return nil, fmt.Errorf("load model: %w", err)
	}
	return newModel(b), nil
}

// job is one tensor of the files on its way to the device.
type job struct {
	set    *safetensors.Set
	src    safetensors.Tensor
	sums   []uint32       // CRC-32C of the parts of a tensor of the cache; nil for one of the checkpoint
	to     compute.Buffer // as many bytes as src has, but for float64; nil for a tensor that changes its form
	finite bool           // its elements must be finite floats
	tensor *tensor        // that changes its form when it has come; nil for bytes that are held as they are
	dtype  compute.DType  // in which it comes
}

// weight is what the tensor becomes where it changes its form.
func (j *job) weight() (w compute.Weight) {
	if j.tensor != nil {
		w = j.tensor.weight
	}
	return w
}

// load brings all tensors to the device, those that are quantised from the cache where it holds them.
func (b *base) load(f *Files, progress func(done, total int64)) error {
	q := b.openCache(f)
	defer q.close()
	err := b.loadFrom(f, q, progress)
	if errors.Is(err, errCache) {
		q.discard()
		err = b.loadFrom(f, nil, progress)
	}
	if err == nil && q != nil && !q.holds() {
		b.keep(f, q)
	}
	return err
}

func (b *base) loadFrom(f *Files, q *quantFile, progress func(done, total int64)) error {
	jobs := b.jobs(f, q)
	var done, total int64
	for _, j := range jobs {
		total += int64(len(j.src.Data))
	}
	count := func(read int) {
		if done += int64(read); progress != nil {
			progress(done, total)
		}
	}
	if host := b.partHost(); host != nil {
		return b.loadParts(host, f, jobs, count)
	}
	return b.loadStaged(f, jobs, count)
}

// loadStaged brings tensors to a device with memory of its own, while the next ones are read. One that changes its form goes through a
// staging buffer.
func (b *base) loadStaged(f *Files, jobs []job, count func(read int)) error {
	staged, err := b.dev.Alloc(compute.U8, int(b.stagingBytes(f.stored)))
	if err != nil {
		return err
	}
	defer staged.Free()
	for i := range jobs {
		if j := &jobs[i]; j.tensor != nil {
			j.to = j.tensor.stage(staged, j.dtype)
		}
	}
	r := startReading(jobs)
	defer r.stop()
	for p := range r.chunks {
		if p.err != nil {
			return fmt.Errorf("tensor %s: %w", p.job.src.Name, p.err)
		}
		b.dev.Upload(p.job.to.As(compute.U8).Slice(int(p.to), len(p.data)), p.data)
		r.reuse(p)
		if err := b.arrived(p); err != nil {
			return fmt.Errorf("tensor %s: %w", p.job.src.Name, err)
		}
		count(p.read)
	}
	return nil
}

// arrived settles a tensor whose last chunk has come.
func (b *base) arrived(p chunk) error {
	if p.last && p.job.tensor != nil {
		b.settle(p.job.tensor.weight, p.job.to)
	}
	return b.dev.Sync()
}

// jobs lists what has to be read, in the order in which it lies in the files.
func (b *base) jobs(f *Files, q *quantFile) []job {
	var jobs []job
	for i := range b.tensors {
		t := &b.tensors[i]
		src, _ := f.set.Tensor(t.name)
		as := f.stored(t.tensorSpec)
		switch {
		case as.quant != nil:
			jobs = append(jobs, b.quantizedJobs(f.set, t, as.quant)...)
		case t.comesAs(as):
			jobs = append(jobs, job{set: f.set, src: src, to: t.weight.Data, finite: true})
		case q.holds() && t.weight.Quant != nil:
			jobs = append(jobs, q.jobs(t)...)
		default:
			jobs = append(jobs, job{set: f.set, src: src, finite: true, tensor: t, dtype: as.dtype})
		}
	}
	slices.SortStableFunc(jobs, func(x, y job) int {
		if x.set != y.set {
			return cmp.Compare(len(x.sums), len(y.sums)) // the cache behind the checkpoint
		}
		fileX, atX := x.set.Position(x.src)
		fileY, atY := y.set.Position(y.src)
		return cmp.Or(cmp.Compare(fileX, fileY), cmp.Compare(atX, atY))
	})
	return jobs
}

// quantizedJobs brings the bytes of a layer that is quantised already to the device as they are.
func (b *base) quantizedJobs(set *safetensors.Set, t *tensor, q *prequantized) []job {
	from := func(suffix string, to compute.Buffer, finite bool) job {
		src, _ := set.Tensor(t.name + suffix)
		return job{set: set, src: src, to: to, finite: finite}
	}
	w := t.weight
	if !q.DoubleQuant {
		return []job{from("", w.Data, false), from(absmaxSuffix, w.Quant.Absmax, true)}
	}
	compute.Upload(b.dev, w.Quant.Offset, []float32{q.offset})
	return []job{
		from("", w.Data, false), from(absmaxSuffix, w.Quant.Codes, false),
		from(nestedSuffix, w.Quant.Nested, true), from(nestedMapSuffix, w.Quant.Map, true),
	}
}

// comesAs says whether the tensor is held in the very form in which it comes.
func (t *tensor) comesAs(as stored) bool {
	return as.quant != nil || t.weight.Quant == nil && t.weight.Data.DType() == as.dtype
}

// stage is the tensor's place in the staging buffer.
func (t *tensor) stage(staged compute.Buffer, dtype compute.DType) compute.Buffer {
	return staged.Slice(0, int(t.elements())*dtype.Size()).As(dtype)
}

// stagingBytes is the size of the buffer through which tensors go that are held in another form than they come in.
func (b *base) stagingBytes(as func(tensorSpec) stored) int64 {
	var most int64
	for i := range b.tensors {
		t := &b.tensors[i]
		if s := as(t.tensorSpec); !t.comesAs(s) {
			most = max(most, t.elements()*int64(s.dtype.Size()))
		}
	}
	return most
}

// settle gives a staged tensor the form in which it is held.
func (b *base) settle(w compute.Weight, staged compute.Buffer) {
	if w.Quant != nil {
		b.dev.Quantize4(w, staged)
		return
	}
	b.dev.Cast(w.Data, staged)
}

// NewUnfilled makes a model whose weights are held as o says, as if they had come from files of type stored, and keep what the device's
// new memory holds: for measuring what a step does, not what it computes.
func NewUnfilled(dev compute.Device, cfg Config, o LoadOptions, stored compute.DType) (*Model, error) {
	b, err := newBase(dev, cfg, o, plain(stored))
	if err != nil {
		return nil, fmt.Errorf("make model: %w", err)
	}
	return newModel(b), nil
}

// NewRandom makes a float32 model with weights drawn as transformers initialises them: N(0, initializer_range²) for
// matrices and embeddings, 1 for norms, 0 for biases.
func NewRandom(dev compute.Device, cfg Config, seed uint64) (*Model, error) {
	return NewRandomWith(dev, cfg, seed, LoadOptions{})
}

// NewRandomWith is NewRandom with the weights held as o says.
func NewRandomWith(dev compute.Device, cfg Config, seed uint64, o LoadOptions) (*Model, error) {
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("make random model: %w", err)
	}
	cfg.Quantization = nil
	b, err := newBase(dev, cfg, o, plain(compute.F32))
	if err != nil {
		return nil, fmt.Errorf("make random model: %w", err)
	}
	if err := b.draw(seed); err != nil {
		b.free()
		return nil, fmt.Errorf("make random model: %w", err)
	}
	return newModel(b), nil
}

// plain is a file in which every tensor has one type.
func plain(t compute.DType) func(tensorSpec) stored {
	return func(tensorSpec) stored { return stored{dtype: t} }
}

// draw fills all tensors, each from a generator of its own.
func (b *base) draw(seed uint64) error {
	as := stored{dtype: compute.F32}
	staged, err := b.dev.Alloc(compute.U8, int(b.stagingBytes(plain(as.dtype))))
	if err != nil {
		return err
	}
	defer staged.Free()
	values := make([]float32, 1<<20)
	for i := range b.tensors {
		t := &b.tensors[i]
		to := t.weight.Data
		if !t.comesAs(as) {
			to = t.stage(staged, as.dtype)
		}
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		for at := 0; at < to.Len(); {
			v := values[:min(len(values), to.Len()-at)]
			t.kind.draw(v, rng, &b.cfg)
			compute.Upload(b.dev, to.Slice(at, len(v)), v)
			at += len(v)
		}
		if !t.comesAs(as) {
			b.settle(t.weight, to)
		}
		if err := b.dev.Sync(); err != nil {
			return err
		}
	}
	return nil
}

func (k kind) draw(values []float32, rng *rand.Rand, c *Config) {
	for j := range values {
		switch k {
		case norm:
			values[j] = 1 - c.NormOffset
		case embedding, matrix, head:
			values[j] = float32(rng.NormFloat64() * c.InitStd)
		default:
			values[j] = 0
		}
	}
}

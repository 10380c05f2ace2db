package export

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"lathe/compute"
	"lathe/model"
	"lathe/model/safetensors"
)

// writeAdapter writes the adapter's own files.
func (j *job) writeAdapter() error {
	if err := j.ctx.Err(); err != nil {
		return err
	}
	j.options.Progress("write", 0, 1)
	if err := j.live.Adapter().Save(j.temp); err != nil {
		return err
	}
	path := filepath.Join(j.temp, adapterConfig)
	if j.about.baseName != "" {
		if err := setBaseModel(path, j.about.baseName); err != nil {
			return err
		}
	}
	var err error
	if j.about.adapter, err = readAdapterFile(path); err != nil {
		return err
	}
	j.about.kind = j.about.adapter.kind()
	j.report.Kind, j.report.Warnings = j.about.kind, j.about.adapter.readers()
	j.options.Progress("write", 1, 1)
	return nil
}

// verifyAdapter reads the adapter back onto the same base and compares.
func (j *job) verifyAdapter() error {
	base := j.live.With(nil)
	back, err := model.LoadAdapter(base, j.temp)
	if err != nil {
		return fmt.Errorf("read back: %w", err)
	}
	defer back.Free()
	return j.compare(base.With(back), f32Tolerance)
}

// dtypes are the names that --dtype knows.
var dtypes = map[string]compute.DType{"float32": compute.F32, "bfloat16": compute.BF16, "float16": compute.F16}

// storedTypes gives the type in which each tensor of a merged model is written: the one asked for, else its own.
func (j *job) storedTypes() (func(name string) compute.DType, error) {
	if name := j.options.DType; name != "" {
		dtype, ok := dtypes[name]
		if !ok {
			return nil, refuse("--dtype %s: use float32, bfloat16 or float16, or leave it out for the base's own", name)
		}
		j.report.DType = name
		return func(string) compute.DType { return dtype }, nil
	}
	fallback := compute.F32
	for _, name := range []string{j.live.Config().DType, j.options.Base.DType()} { // of what is in 4 bits, or has no header
		if dtype, ok := dtypes[name]; ok {
			fallback = dtype
			break
		}
	}
	set, err := openHeaders(j.options.Base)
	if err != nil {
		return nil, err
	}
	defer set.Close()
	own := map[string]compute.DType{}
	for _, name := range set.Names() {
		t, _ := set.Tensor(name)
		switch t.DType {
		case safetensors.F32, safetensors.F64:
			own[name] = compute.F32
		case safetensors.BF16:
			own[name] = compute.BF16
		case safetensors.F16:
			own[name] = compute.F16
		}
	}
	j.report.DType = fallback.String()
	return func(name string) compute.DType {
		if dtype, ok := own[name]; ok {
			return dtype
		}
		return fallback
	}, nil
}

func openHeaders(f *model.Files) (*safetensors.Set, error) {
	if f.Dir != "" {
		return safetensors.Open(f.Dir)
	}
	data, err := fs.ReadFile(f.FS(), safetensors.SingleFile)
	if err != nil {
		return nil, err
	}
	return safetensors.Parse(data)
}

// writeMerged writes config.json and the weights with the adapter merged in, one tensor at a time.
func (j *job) writeMerged() error {
	types, err := j.storedTypes()
	if err != nil {
		return err
	}
	sources, err := j.live.MergedTensorsAs(types)
	if err != nil {
		return err
	}
	if err := j.room(sources); err != nil {
		return err
	}
	if err := safetensors.WriteSharded(j.temp, j.watched(sources), safetensors.PyTorch(), j.options.MaxShardBytes); err != nil {
		return err
	}
	config, err := j.config()
	if err != nil {
		return err
	}
	return writeNew(filepath.Join(j.temp, "config.json"), config)
}

func sourceBytes(s safetensors.Source) int64 {
	bits := s.DType.Bits()
	for _, n := range s.Shape {
		bits *= n
	}
	return bits / 8
}

// room refuses at once what the disk cannot hold.
func (j *job) room(sources []safetensors.Source) error {
	var need int64
	for _, s := range sources {
		need += sourceBytes(s)
	}
	if free, ok := diskFree(j.temp); ok && free < need {
		return fmt.Errorf("%s has %s free, the model takes %s: free some space or name another folder", filepath.Dir(j.options.Out), bytesText(free), bytesText(need))
	}
	return nil
}

// watched tells of the bytes written, and stops when the context ends.
func (j *job) watched(sources []safetensors.Source) []safetensors.Source {
	var done, total int64
	for _, s := range sources {
		total += sourceBytes(s)
	}
	out := make([]safetensors.Source, len(sources))
	for i, s := range sources {
		out[i] = s
		out[i].Data = func() ([]byte, error) {
			if err := j.ctx.Err(); err != nil {
				return nil, err
			}
			data, err := s.Data()
			done += int64(len(data))
			j.options.Progress("write", done, total)
			return data, err
		}
	}
	return out
}

// config is config.json: the base's byte for byte where it still holds, else with the new type and without the quantisation.
func (j *job) config() ([]byte, error) {
	data, err := fs.ReadFile(j.options.Base.FS(), "config.json")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var head struct {
		TorchDType   string          `json:"torch_dtype"`
		DType        string          `json:"dtype"`
		Quantization json.RawMessage `json:"quantization_config"`
	}
	c := j.live.MergedConfig()
	tied := c.TieHead == j.live.Config().TieHead
	if err == nil && json.Unmarshal(data, &head) == nil && head.Quantization == nil && tied && (head.TorchDType == j.report.DType || head.DType == j.report.DType) {
		return data, nil
	}
	return c.JSON(dtypes[j.report.DType])
}

// verifyMerged reads the merged folder as a model of its own, compares it with the live one, and measures what merging cost.
func (j *job) verifyMerged() error {
	o, dev := j.live.Options(), j.live.Device()
	tolerance := tolerance(j.report.DType, j.live.Config().Layers)
	ppl, err := j.perplexityOf(j.live, "live model")
	if err != nil {
		return err
	}
	if j.options.Release != nil {
		j.options.Release()
	}
	files, err := model.Open(j.temp)
	if err != nil {
		return fmt.Errorf("read back: %w", err)
	}
	defer files.Close()
	load := func(stage string, o model.LoadOptions) (*model.Model, error) {
		return model.Load(dev, files, o, func(done, total int64) { j.options.Progress(stage, done, total) })
	}
	back, err := load("read back", model.LoadOptions{Compute: o.Compute, KeepDType: true})
	if err != nil {
		return fmt.Errorf("read back: %w", err)
	}
	err = j.compare(back, tolerance)
	if err == nil && ppl != nil {
		ppl.Merged, err = j.perplexity(back, "merged model")
	}
	back.Free()
	if err != nil || ppl == nil {
		return err
	}
	if q := j.options.Base.Config.Quantization; q != nil { // quantised before it was saved
		o.Quant4, o.QuantType, o.DoubleQuant = true, q.Type, q.DoubleQuant
	}
	if o.Quant4 {
		o.KeepDType = true
		again, err := load("quantise again", o)
		if err != nil {
			return fmt.Errorf("quantise the merged model again: %w", err)
		}
		defer again.Free()
		value, err := j.perplexity(again, "merged model in 4 bits")
		if err != nil {
			return err
		}
		ppl.Requantized = &value
	}
	if t := j.options.Trained; t != nil && !o.Quant4 {
		if ppl.Trained, err = j.trainedPerplexity(dev, *t); err != nil {
			return err
		}
	}
	j.report.Perplexity = ppl
	return nil
}

// trainedPerplexity loads base and adapter once more, the base as it was held in training.
func (j *job) trainedPerplexity(dev compute.Device, o model.LoadOptions) (*float64, error) {
	const stage = "load the base as it was trained on"
	base, err := model.Load(dev, j.options.Base, o, func(done, total int64) { j.options.Progress(stage, done, total) })
	if err != nil {
		return nil, fmt.Errorf("%s: %w", stage, err)
	}
	defer base.Free()
	a, err := model.LoadAdapter(base, j.options.AdapterDir)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", stage, err)
	}
	defer a.Free()
	value, err := j.perplexity(base.With(a), "model as it was trained")
	return &value, err
}

// bytesText is a size in binary units.
func bytesText(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	v, u := float64(n), 0
	for v >= 1024 && u < len(units)-1 {
		v, u = v/1024, u+1
	}
	if u == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", v, units[u])
}

// kindOf finds the kind of an adapter that has no folder: it is saved and its configuration read.
func (j *job) kindOf() error {
	if j.about.kind != "" {
		return nil
	}
	dir, err := os.MkdirTemp(j.temp, "adapter-*")
	if err != nil {
		return err
	}
	err = j.live.Adapter().Save(dir)
	if err == nil {
		j.about.adapter, err = readAdapterFile(filepath.Join(dir, adapterConfig))
	}
	j.about.kind = j.about.adapter.kind()
	j.report.Kind = j.about.kind
	return errors.Join(err, os.RemoveAll(dir))
}

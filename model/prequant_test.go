package model

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lathe/compute"
	"lathe/model/safetensors"
)

// prequantized folders are written by transformers' save_pretrained of models that bitsandbytes quantised.
var prequantizedModels = []string{"llama-gqa-nf4", "llama-gqa-nf4-single", "llama-gqa-fp4"}

func needDump(t *testing.T, name string) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(refDir, name, "config.json")); err != nil {
		t.Skipf("not run: testdata/ref has no %s", name)
	}
}

// Tolerance: as for every other forward pass; the bytes are bitsandbytes' own, so nothing but the products differs.
func TestPrequantizedForwardMatchesTransformers(t *testing.T) {
	dev := openDevice(t)
	for _, name := range prequantizedModels {
		t.Run(name, func(t *testing.T) {
			needDump(t, name)
			if strings.Contains(name, "fp4") {
				t.Skip("not run: this device has no FP4 kernels yet")
			}
			m := loadModel(t, dev, name, LoadOptions{KeepDType: true})
			d := openDump(t, name+"/dump/forward.safetensors")
			in, scored := d.batch(t)
			logprobs, err := m.LogProbs(in)
			if err != nil {
				t.Fatal(err)
			}
			within(t, "log-probabilities", pick(logprobs, scored), d.floats(t, "logprobs"), logprobTolerance)
		})
	}
}

// What the files hold is what the device holds, byte for byte; and what quantising the original gives.
func TestPrequantizedBytesAreKept(t *testing.T) {
	dev := openDevice(t)
	for _, name := range prequantizedModels {
		t.Run(name, func(t *testing.T) {
			needDump(t, name)
			f := openFiles(t, filepath.Join(refDir, name))
			m := loadModel(t, dev, name, LoadOptions{})
			if !m.Options().Quant4 || m.Options().QuantType != f.Config.Quantization.Type {
				t.Errorf("options %+v do not say what the weights are", m.Options())
			}
			for i, spec := range m.tensors {
				if spec.weight.Quant == nil {
					continue
				}
				src, _ := f.set.Tensor(spec.name)
				if got := compute.Download[uint8](dev, spec.weight.Data); !bytes.Equal(got, src.Data) {
					t.Errorf("%s: other codes", spec.name)
				}
				scales, _ := f.set.Tensor(spec.name + absmaxSuffix)
				held := spec.weight.Quant.Codes
				if held == nil {
					held = spec.weight.Quant.Absmax
				}
				got := make([]byte, compute.ByteLen(held))
				dev.Download(got, held)
				if !bytes.Equal(got, scales.Data) {
					t.Errorf("tensor %d, %s: other scales", i, spec.name)
				}
			}
			if err := dev.Sync(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// editQuantized copies a pre-quantised folder, its tensors and config.json changed.
func editQuantized(t *testing.T, tensors func(map[string]safetensors.Tensor), config func(map[string]any)) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(refDir, "llama-gqa-nf4"))); err != nil {
		t.Fatal(err)
	}
	if tensors != nil {
		editTensors(t, filepath.Join(dir, "model.safetensors"), tensors)
	}
	if config != nil {
		editJSON(t, filepath.Join(dir, "config.json"), config)
	}
	return dir
}

const (
	qWeight = "model.layers.0.self_attn.q_proj.weight"
	qState  = qWeight + ".quant_state.bitsandbytes__nf4"
)

// state changes the packed JSON of one layer.
func state(edit func(map[string]any)) func(map[string]safetensors.Tensor) {
	return func(all map[string]safetensors.Tensor) {
		x, fields := all[qState], map[string]any{}
		_ = json.Unmarshal(x.Data, &fields) // what cannot be read fails the test by its message
		edit(fields)
		x.Data, _ = json.Marshal(fields)
		x.Shape = []int64{int64(len(x.Data))}
		all[qState] = x
	}
}

func setTensor(name string, edit func(*safetensors.Tensor)) func(map[string]safetensors.Tensor) {
	return func(all map[string]safetensors.Tensor) {
		x := all[name]
		x.Data = bytes.Clone(x.Data)
		edit(&x)
		all[name] = x
	}
}

func remove(names ...string) func(map[string]safetensors.Tensor) {
	return func(all map[string]safetensors.Tensor) {
		maps.DeleteFunc(all, func(name string, _ safetensors.Tensor) bool {
			for _, n := range names {
				if name == n {
					return true
				}
			}
			return false
		})
	}
}

func quantization(key string, value any) func(map[string]any) {
	return func(config map[string]any) { config["quantization_config"].(map[string]any)[key] = value }
}

// Every damage is one line that says where.
func TestDamagedPrequantized(t *testing.T) {
	set := func(key string, v any) func(map[string]safetensors.Tensor) {
		return state(func(s map[string]any) { s[key] = v })
	}
	for _, c := range []struct {
		name    string
		tensors func(map[string]safetensors.Tensor)
		config  func(map[string]any)
		want    string
	}{
		{"no absmax", remove(qWeight + ".absmax"), nil, qWeight + ".absmax is missing"},
		{"no quant_map", remove(qWeight + ".quant_map"), nil, qWeight + ".quant_map is missing"},
		{"no nested_absmax", remove(qWeight + ".nested_absmax"), nil, qWeight + ".nested_absmax is missing"},
		{"no state", remove(qState), nil, qWeight + " has shape [2048 1]"},
		{"short weight", setTensor(qWeight, func(x *safetensors.Tensor) { x.Data, x.Shape = x.Data[:2046], []int64{2046, 1} }), nil, "holds 2046 bytes, but [64 64] in 4 bits are 2048"},
		{"short absmax", setTensor(qWeight+".absmax", func(x *safetensors.Tensor) { x.Data, x.Shape = x.Data[:63], []int64{63} }), nil, "needs 64 of U8"},
		{"block size", set("blocksize", 128), nil, "blocksize 128 is not read, only 64"},
		{"nested block size", set("nested_blocksize", 512), nil, "nested_blocksize 512"},
		{"nested type", set("nested_dtype", "float16"), nil, `nested_dtype "float16"`},
		{"no offset", state(func(s map[string]any) { delete(s, "nested_offset") }), nil, "nested_offset"},
		{"another shape", set("shape", []int{32, 128}), nil, "shape [32 128], but config.json makes it [64 64]"},
		{"another type", set("quant_type", "fp4"), nil, `quant_type "fp4" does not match`},
		{"no JSON", setTensor(qState, func(x *safetensors.Tensor) { x.Data[0] = '!' }), nil, "its JSON"},
		{"another code", setTensor(qWeight+".quant_map", func(x *safetensors.Tensor) { x.Data[3] ^= 0x80 }), nil, "made with another code"},
		{"code of NaN", setTensor(qWeight+".quant_map", func(x *safetensors.Tensor) { copy(x.Data, []byte{0, 0, 0xc0, 0x7f}) }), nil, "made with another code"},
		{"both states", func(all map[string]safetensors.Tensor) {
			x := all[qState]
			x.Name = qWeight + ".quant_state.bitsandbytes__fp4"
			all[x.Name] = x
		}, nil, "bitsandbytes__fp4 is not part of"},
		{"no config", nil, func(c map[string]any) { delete(c, "quantization_config") }, "config.json has no quantization_config"},
		{"8 bit", nil, func(c map[string]any) {
			c["quantization_config"] = map[string]any{"load_in_8bit": true, "quant_method": "bitsandbytes"}
		}, "load_in_8bit"},
		{"no bits", nil, func(c map[string]any) {
			c["quantization_config"] = map[string]any{"quant_method": "bitsandbytes"}
		}, "load_in_4bit: it is not set"},
		{"code book", nil, quantization("bnb_4bit_quant_type", "af4"), `"af4" is neither nf4 nor fp4`},
		{"storage", nil, quantization("bnb_4bit_quant_storage", "int64"), `"int64"`},
		{"skip modules", nil, quantization("llm_int8_skip_modules", "lm_head"), "llm_int8_skip_modules"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Open(editQuantized(t, c.tensors, c.config))
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want one line with %q", err, c.want)
			}
		})
	}
	dir := editQuantized(t, setTensor(qWeight+".nested_absmax", func(x *safetensors.Tensor) { copy(x.Data, []byte{0, 0, 0xc0, 0x7f}) }), nil)
	if _, err := Load(openDevice(t), openFiles(t, dir), LoadOptions{}, nil); !saysAll(err, qWeight+".nested_absmax", "element 0", "NaN") {
		t.Errorf("a scale of NaN: %v", err)
	}
}

// Other methods are refused by name, with what to take instead.
func TestOtherQuantizationsAreRefused(t *testing.T) {
	for _, method := range []string{"gptq", "awq", "fp8", "fbgemm_fp8", "mxfp4", "compressed-tensors", "hqq", "torchao"} {
		dir := writeModel(t, func(c map[string]any) { c["quantization_config"] = map[string]any{"quant_method": method} })
		if _, err := Open(dir); !saysAll(err, "quantization_config", `"`+method+`"`, "load_in_4bit") {
			t.Errorf("%s: %v", method, err)
		}
	}
	dir := writeModel(t, func(c map[string]any) {
		c["quantization_config"] = map[string]any{"quant_method": "bitsandbytes", "load_in_4bit": true, "bnb_4bit_quant_type": "nf4"}
	})
	if _, err := Open(dir); !saysAll(err, "no tensor is", "take the key out") {
		t.Errorf("a plain checkpoint that claims to be quantised: %v", err)
	}
}

// Old and new spellings, other storage types and layers that were left out are read alike.
func TestPrequantizedVariants(t *testing.T) {
	dev := openDevice(t)
	d := openDump(t, "llama-gqa-nf4/dump/forward.safetensors")
	in, scored := d.batch(t)
	for name, dir := range map[string]string{
		"old key": editQuantized(t, nil, func(c map[string]any) {
			delete(c["quantization_config"].(map[string]any), "_load_in_4bit")
		}),
		"new key": editQuantized(t, nil, func(c map[string]any) {
			delete(c["quantization_config"].(map[string]any), "load_in_4bit")
		}),
		"no method": editQuantized(t, nil, func(c map[string]any) {
			delete(c["quantization_config"].(map[string]any), "quant_method")
		}),
		"bfloat16 storage": editQuantized(t, func(all map[string]safetensors.Tensor) {
			for name, x := range all {
				if strings.HasSuffix(name, "_proj.weight") {
					x.DType, x.Shape = safetensors.BF16, []int64{int64(len(x.Data)) / 2, 1}
					all[name] = x
				}
			}
		}, quantization("bnb_4bit_quant_storage", "bfloat16")),
	} {
		t.Run(name, func(t *testing.T) {
			m, err := Load(dev, openFiles(t, dir), LoadOptions{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Free()
			logprobs, err := m.LogProbs(in)
			if err != nil {
				t.Fatal(err)
			}
			within(t, "log-probabilities", pick(logprobs, scored), d.floats(t, "logprobs"), logprobTolerance)
		})
	}
}

// A layer that llm_int8_skip_modules kept plain stays plain, whatever load_in_4bit says.
func TestPrequantizedSkipsModules(t *testing.T) {
	plainWeights := openDump(t, "llama-gqa/model.safetensors")
	dir := editQuantized(t, func(all map[string]safetensors.Tensor) {
		maps.DeleteFunc(all, func(name string, _ safetensors.Tensor) bool { return strings.HasPrefix(name, qWeight) })
		all[qWeight], _ = plainWeights.set.Tensor(qWeight)
	}, quantization("llm_int8_skip_modules", []string{"lm_head", "model.layers.0.self_attn.q_proj"}))
	f := openFiles(t, dir)
	m, err := Load(openDevice(t), f, LoadOptions{Quant4: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Free()
	for _, x := range m.tensors {
		if x.kind == matrix && (x.weight.Quant == nil) != (x.name == qWeight) {
			t.Errorf("%s: quantised %v", x.name, x.weight.Quant != nil)
		}
	}
	if len(f.Config.Quantization.Skip) != 2 {
		t.Errorf("skipped modules %q", f.Config.Quantization.Skip)
	}
}

package model

import (
	"os"
	"path/filepath"
	"testing"

	"lathe/compute"
	"lathe/internal/alloctest"
)

// configCosts is what any config.json costs beside its size: the maps of its keys, of the family's defaults and of what was read,
// and the layers' kinds, one byte for each of at most 4096 layers.
const configCosts = 64 << 10

// FuzzConfig: whatever config.json and generation_config.json hold, they are refused or make a model that can be counted, written
// and read again.
func FuzzConfig(f *testing.F) {
	for _, pattern := range []string{"*/config.json", "*/dump/config.v4.json"} {
		paths, err := filepath.Glob(filepath.Join(refDir, pattern))
		if err != nil || len(paths) < 2 {
			f.Fatalf("%d of %s (%v)", len(paths), pattern, err)
		}
		for _, path := range paths {
			data, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data, []byte(`{"eos_token_id":[2,5]}`))
		}
	}
	f.Add([]byte(`{"model_type":"llama","head_dim":null,"rope_scaling":{}}`), []byte(`null`))
	f.Fuzz(func(t *testing.T, config, generation []byte) {
		var c Config
		var err error
		alloctest.Within(t, len(config)+len(generation), configCosts, func() { c, err = ParseConfig(config, generation) })
		if err != nil {
			return
		}
		if c.Parameters() <= 0 || c.Layers > maxLayers || c.Heads%c.KVHeads != 0 {
			t.Errorf("accepted %+v", c)
		}
		out, err := c.JSON(compute.F32)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseConfig(out, nil); err != nil {
			t.Errorf("does not read what it wrote: %v", err)
		}
	})
}

// adapterCosts is what any adapter_config.json costs beside its size: maps of keys and patterns, and regular expressions, which are
// tried when they are read.
const adapterCosts = 256 << 10

// FuzzAdapterConfig: whatever an adapter_config.json holds, it is refused, or is a method's configuration that is written and read
// again as the same.
func FuzzAdapterConfig(f *testing.F) {
	paths, err := filepath.Glob(filepath.Join(refDir, "*/adapters/*", AdapterConfigFile))
	if err != nil || len(paths) < 8 {
		f.Fatalf("%d adapters (%v)", len(paths), err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"peft_type":"LORA","rank_pattern":{"a":1,"b":2},"layers_to_transform":[1],"layers_pattern":"layers","exclude_modules":"x"}`))
	f.Add([]byte(`{"peft_type":"LORA","target_modules":".*(q|v)_proj","bias":"all","use_dora":true,"modules_to_save":["lm_head"]}`))
	f.Add([]byte(`{"peft_type":"PREFIX_TUNING","num_virtual_tokens":4,"prefix_projection":true,"encoder_hidden_size":8,"num_layers":2}`))
	f.Add([]byte(`{"config":{"mh_adapter":true,"output_adapter":true,"reduction_factor":{"default":16,"1":4},"non_linearity":"swish"},"hidden_size":64,"name":"a"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var c AdapterConfig
		var err error
		alloctest.Within(t, len(data), adapterCosts, func() { c, err = ParseAdapterConfig(data) })
		if err != nil {
			return
		}
		if l, ok := c.(LoRAConfig); ok {
			if r, _, err := l.pairShape("model.layers.0.self_attn.q_proj", 0); err == nil && (r < 0 || r > maxRank) {
				t.Errorf("rank %d", r)
			}
		}
		out, err := c.JSON()
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseAdapterConfig(out)
		if err != nil {
			t.Fatalf("does not read what it wrote: %v\n%s", err, out)
		}
		if second, err := again.JSON(); err != nil || string(second) != string(out) {
			t.Errorf("%s\n%s %v", out, second, err)
		}
	})
}

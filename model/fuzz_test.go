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

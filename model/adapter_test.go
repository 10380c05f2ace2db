package model

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"lathe/compute"
	"lathe/model/safetensors"
)

func TestAdapterRoundTrip(t *testing.T) {
	dev := openDevice(t)
	for _, name := range []string{"llama-gqa", "llama-bias-tied"} {
		m := loadModel(t, dev, name, LoadOptions{})
		adapters, err := filepath.Glob(filepath.Join(refDir, name, "adapters/*"))
		if err != nil || len(adapters) == 0 {
			t.Fatal("no adapters", err)
		}
		for _, dir := range adapters {
			a, err := LoadAdapter(m, dir)
			if err != nil {
				t.Fatal(err)
			}
			first, second := t.TempDir(), t.TempDir()
			if err := a.Save(first); err != nil {
				t.Fatal(err)
			}
			b, err := LoadAdapter(m, first)
			if err != nil {
				t.Fatal(err)
			}
			if err := b.Save(second); err != nil {
				t.Fatal(err)
			}
			weights := a.method.weightsFile()
			sameTensors(t, filepath.Join(dir, weights), filepath.Join(first, weights))
			sameFile(t, filepath.Join(first, weights), filepath.Join(second, weights))
			sameFile(t, filepath.Join(first, AdapterConfigFile), filepath.Join(second, AdapterConfigFile))
			a.Free()
			b.Free()
		}
	}
}

// sameTensors compares all but the header's spelling and metadata.
func sameTensors(t *testing.T, a, b string) {
	t.Helper()
	x, err := safetensors.Open(a)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	y, err := safetensors.Open(b)
	if err != nil {
		t.Fatal(err)
	}
	defer y.Close()
	if !slices.Equal(x.Names(), y.Names()) {
		t.Errorf("%s has tensors %q, %s %q", a, x.Names(), b, y.Names())
	}
	for _, name := range x.Names() {
		u, _ := x.Tensor(name)
		v, _ := y.Tensor(name)
		if u.DType != v.DType || !slices.Equal(u.Shape, v.Shape) || !slices.Equal(u.Data, v.Data) {
			t.Errorf("%s differs", name)
		}
	}
}

func parseLoRA(data []byte) (LoRAConfig, error) {
	k, err := parseKeys(AdapterConfigFile, data)
	if err != nil {
		return LoRAConfig{}, err
	}
	return parseLoRAConfig(k)
}

// As PEFT: r, alpha and layers by module path.
func TestAdapterShapes(t *testing.T) {
	m := randomModel(t, openDevice(t), LoadOptions{})
	for _, c := range []struct {
		config string
		want   []string // module: rank scale
	}{
		{`"target_modules":["q_proj"]`, []string{"0.self_attn.q_proj 8 2", "1.self_attn.q_proj 8 2", "2.self_attn.q_proj 8 2"}},
		{`"target_modules":["proj"],"layers_to_transform":0`, nil},
		{`"target_modules":["model.layers.1.mlp.up_proj"]`, []string{"1.mlp.up_proj 8 2"}},
		{`"target_modules":".*\\.[01]\\..*(k|v)_proj"`, []string{"0.self_attn.k_proj 8 2", "0.self_attn.v_proj 8 2", "1.self_attn.k_proj 8 2", "1.self_attn.v_proj 8 2"}},
		{`"target_modules":"k_proj"`, nil},
		{`"target_modules":["v_proj","down_proj"],"layers_to_transform":[2]`, []string{"2.self_attn.v_proj 8 2", "2.mlp.down_proj 8 2"}},
		{`"target_modules":["o_proj"],"exclude_modules":["layers.0.self_attn.o_proj"],"use_rslora":true`, []string{"1.self_attn.o_proj 8 5.656854", "2.self_attn.o_proj 8 5.656854"}},
		{
			`"target_modules":["k_proj"],"rank_pattern":{"1.self_attn.k_proj":4,"k_proj":2},"alpha_pattern":{"layers.2.*":64}`,
			[]string{"0.self_attn.k_proj 2 8", "1.self_attn.k_proj 4 4", "2.self_attn.k_proj 2 32"},
		},
		{`"layers_to_transform":1,"layers_pattern":"layers"`, []string{"1.self_attn.q_proj 8 2", "1.self_attn.v_proj 8 2"}},
	} {
		config, err := parseLoRA([]byte(`{"peft_type":"LORA","r":8,"lora_alpha":16,` + c.config + `}`))
		if err != nil {
			t.Fatal(c.config, err)
		}
		a, err := NewAdapter(m, config, 1)
		if err != nil {
			if c.want != nil || !saysAll(err, "target_modules", "nothing matches", "q_proj") {
				t.Errorf("%s: %v", c.config, err)
			}
			continue
		}
		var got []string
		for layer, linears := range a.method.(*lora).linear {
			for s, l := range linears {
				if l != nil {
					got = append(got, fmt.Sprintf("%d.%s %d %.7g", layer, llamaNames.modules[s], l.LoRA.R, l.LoRA.Scale))
				}
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s:\n got %q\nwant %q", c.config, got, c.want)
		}
		a.Free()
	}
}

func TestBadAdapterConfigs(t *testing.T) {
	m := randomModel(t, openDevice(t), LoadOptions{})
	for _, c := range []struct {
		config string
		says   []string
	}{
		{`"bias":"some"`, []string{"bias", "some", "lora_only"}},
		{`"modules_to_save":["classifier"]`, []string{"modules_to_save", "classifier", "lm_head"}},
		{`"modules_to_save":[""]`, []string{"modules_to_save", "empty"}},
		{`"modules_to_save":["mlp","self_attn"]`, []string{"target_modules", "nothing matches"}},
		{`"fan_in_fan_out":true`, []string{"fan_in_fan_out"}},
		{`"lora_bias":true`, []string{"lora_bias"}},
		{`"layer_replication":[[0,2]]`, []string{"layer_replication"}},
		{`"target_parameters":["x"]`, []string{"target_parameters"}},
		{`"trainable_token_indices":[1]`, []string{"trainable_token_indices"}},
		{`"some_new_option":3`, []string{"some_new_option", "3"}},
		{`"r":0`, []string{"r:", "0"}},
		{`"r":"8"`, []string{"r:", `"8"`}},
		{`"lora_dropout":1`, []string{"lora_dropout"}},
		{`"target_modules":7`, []string{"target_modules"}},
		{`"target_modules":"(?=q)q_proj"`, []string{"target_modules", "look-around"}},
		{`"target_modules":["lm_head","q_proj"]`, []string{"target_modules", "lm_head"}},
		{`"target_modules":["embed_tokens","q_proj"]`, []string{"target_modules", "embed_tokens"}},
		{`"rank_pattern":{"q_proj":0.5}`, []string{"0.5"}},
		{`"rank_pattern":{"q_proj(":2}`, []string{"rank_pattern"}},
		{`"rank_pattern":[2]`, []string{"rank_pattern"}},
		{`"layers_pattern":"blocks"`, []string{"layers_pattern"}},
		{`"layers_to_transform":[0],"layers_pattern":["blocks"]`, []string{"layers_pattern", "blocks"}},
	} {
		config, err := parseLoRA([]byte(`{"peft_type":"LORA",` + c.config + `}`))
		if err == nil {
			_, err = NewAdapter(m, config, 1)
		}
		if !saysAll(err, c.says...) {
			t.Errorf("%s: %v, want %q in it", c.config, err, c.says)
		}
	}
	for _, bad := range []string{``, `[]`, `null`, `{}`, `{"peft_type":"PREFIX_TUNING"}`} {
		if _, err := ParseAdapterConfig([]byte(bad)); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestDamagedAdapters(t *testing.T) {
	dev := openDevice(t)
	m := loadModel(t, dev, "llama-gqa", LoadOptions{})
	const name = "base_model.model.model.layers.0.mlp.down_proj.lora_A.weight"
	for _, c := range []struct {
		name string
		edit func(map[string]safetensors.Tensor)
		says []string
	}{
		{"missing", func(m map[string]safetensors.Tensor) { delete(m, name) }, []string{name, "missing"}},
		{"renamed", func(m map[string]safetensors.Tensor) { x := m[name]; x.Name += "2"; m[x.Name] = x }, []string{name + "2", "no module"}},
		{"shape", func(m map[string]safetensors.Tensor) { x := m[name]; x.Shape = []int64{112, 8}; m[name] = x }, []string{name, "[112 8]", "[8 112]"}},
		{"NaN", func(m map[string]safetensors.Tensor) {
			copy(m[name].Data[8:], compute.Bytes([]float32{float32(math.NaN())}))
		}, []string{name, "element 2"}},
	} {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(filepath.Join(refDir, "llama-gqa/adapters/lora-random"))); err != nil {
			t.Fatal(err)
		}
		editTensors(t, filepath.Join(dir, AdapterWeightsFile), c.edit)
		before := dev.Memory().Used
		if _, err := LoadAdapter(m, dir); !saysAll(err, append(c.says, dir)...) {
			t.Errorf("%s: %v, want %q in it", c.name, err, c.says)
		}
		if after := dev.Memory().Used; after != before {
			t.Errorf("%s: %d bytes were left on the device", c.name, after-before)
		}
	}
	other := loadModel(t, dev, "llama3-rope", LoadOptions{})
	if _, err := LoadAdapter(other, filepath.Join(refDir, "llama-gqa/adapters/lora-random")); !saysAll(err, "shape") {
		t.Errorf("an adapter of another base: %v", err)
	}
	if _, err := LoadAdapter(m, t.TempDir()); !saysAll(err, AdapterConfigFile) {
		t.Errorf("an empty folder: %v", err)
	}
}

func TestNewLoRAStartsAtTheBase(t *testing.T) {
	m := randomModel(t, openDevice(t), LoadOptions{})
	a, err := NewAdapter(m, LoRAConfig{R: 4, Alpha: 8, TargetModules: TargetModules{Regex: AllLinear}}, 5)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Free()
	if want := []string{"down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"}; !slices.Equal(a.Config().(LoRAConfig).TargetModules.Names, want) {
		t.Errorf("all-linear became %q", a.Config())
	}
	in := randomInput(11)
	base, err := m.LogProbs(in)
	if err != nil {
		t.Fatal(err)
	}
	adapted, err := m.With(a).LogProbs(in)
	if err != nil || !slices.Equal(base, adapted) {
		t.Errorf("an untrained adapter changes the scores (%v)", err)
	}
	for i, p := range a.params {
		values := compute.Download[float32](m.dev, p.Value)
		bound, most := float32(1/math.Sqrt(float64(p.Shape[1]))), float32(0)
		for _, v := range values {
			most = max(most, v, -v)
		}
		if i%2 == 0 && (most > bound || most < bound*0.9) || i%2 == 1 && most != 0 {
			t.Errorf("%s: largest value %g, bound %g", p.Name, most, bound)
		}
	}
	c, err := a.Copy()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Free()
	if !slices.Equal(compute.Download[float32](m.dev, c.memory), compute.Download[float32](m.dev, a.memory)) {
		t.Error("the copy differs")
	}
}

// A merged model, saved and loaded, scores as base and adapter do together; float32 sums in another order.
func TestMergedEqualsAdapted(t *testing.T) {
	dev := openDevice(t)
	m := randomLoRA(t, randomModel(t, dev, LoadOptions{}), LoRAConfig{R: 3, Alpha: 6, TargetModules: TargetModules{Regex: AllLinear}})
	dir := t.TempDir()
	if err := m.SaveMerged(dir); err != nil {
		t.Fatal(err)
	}
	merged, err := Load(dev, openFiles(t, dir), LoadOptions{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer merged.Free()
	in := randomInput(30)
	want, err := m.LogProbs(in)
	if err != nil {
		t.Fatal(err)
	}
	got, err := merged.LogProbs(in)
	if err != nil {
		t.Fatal(err)
	}
	within(t, "log-probabilities", got, want, 2e-5)
}

package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"lathe/model/safetensors"
)

// rawConfig is config.json as far as it can be read whatever the family.
type rawConfig struct {
	Architectures []string        `json:"architectures"`
	ModelType     string          `json:"model_type"`
	Context       int             `json:"max_position_embeddings"`
	Hidden        int             `json:"hidden_size"`
	Layers        int             `json:"num_hidden_layers"`
	Heads         int             `json:"num_attention_heads"`
	KVHeads       int             `json:"num_key_value_heads"`
	HeadDim       int             `json:"head_dim"`
	Vocab         int             `json:"vocab_size"`
	Window        *int            `json:"sliding_window"`
	UseWindow     *bool           `json:"use_sliding_window"`
	Scaling       json.RawMessage `json:"rope_scaling"`
	Rope          json.RawMessage `json:"rope_parameters"`
	Theta         float64         `json:"rope_theta"`
	EOS           json.RawMessage `json:"eos_token_id"`
	Quantization  map[string]any  `json:"quantization_config"`
}

// ropeScaling is what stretches the context.
type ropeScaling struct {
	Type     string  `json:"rope_type"`
	Factor   float64 `json:"factor,omitempty"`
	Original int     `json:"original_max_position_embeddings,omitempty"`
	Theta    float64 `json:"rope_theta,omitempty"`
}

// readRawConfig reads config.json leniently: a key of another type than usual is left out.
func readRawConfig(dir string) (rawConfig, error) {
	var c rawConfig
	data, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		return c, err
	}
	err = json.Unmarshal(data, &c)
	if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) && wrong.Field != "" {
		err = nil // of one key: model.Open names it
	}
	if err != nil {
		return c, fmt.Errorf("read config.json of %s: %s", dir, jsonFault(err))
	}
	return c, nil
}

// describe takes what config.json says by itself.
func (in *inspection) describe(c rawConfig) {
	in.Family = c.ModelType
	if len(c.Architectures) > 0 {
		in.Architecture = c.Architectures[0]
	}
	in.ContextLength, in.Hidden, in.Layers, in.Vocab = c.Context, c.Hidden, c.Layers, c.Vocab
	in.Heads, in.KVHeads, in.HeadDim = c.Heads, c.KVHeads, c.HeadDim
	if c.Window != nil && (c.UseWindow == nil || *c.UseWindow) {
		in.Window = *c.Window
	}
	in.RoPE = c.ropeScaling()
	if method, ok := c.Quantization["quant_method"].(string); ok {
		in.Quantization = method
	}
}

// ropeScaling reads rope_scaling (transformers 4) or rope_parameters (5), which also has a form with one entry for each type of
// layer; nil for none.
func (c rawConfig) ropeScaling() *ropeScaling {
	for _, raw := range []json.RawMessage{c.Rope, c.Scaling} {
		if len(raw) == 0 || string(raw) == "null" {
			continue
		}
		list := map[string]json.RawMessage{}
		if json.Unmarshal(raw, &list) != nil {
			continue
		}
		if full, ok := list["full_attention"]; ok {
			raw = full
		}
		var r struct {
			ropeScaling
			Old string `json:"type"`
		}
		if json.Unmarshal(raw, &r) != nil {
			continue
		}
		if r.Type == "" {
			r.Type = r.Old
		}
		if r.Theta == 0 {
			r.Theta = c.Theta
		}
		if r.Type != "" && r.Type != "default" {
			return &r.ropeScaling
		}
	}
	return nil
}

// torchNames are torch's names of the types of stored tensors.
var torchNames = map[safetensors.DType]string{
	safetensors.F64: "float64", safetensors.F32: "float32", safetensors.F16: "float16", safetensors.BF16: "bfloat16",
	safetensors.U8: "uint8", safetensors.I8: "int8", safetensors.I32: "int32", safetensors.I64: "int64",
}

// readWeights adds up the headers of all files of weights, each by itself, so that a damaged one does not hide the others.
func (in *inspection) readWeights(dir string) {
	in.DTypes = map[string]int64{}
	paths, _ := filepath.Glob(filepath.Join(dir, "*.safetensors")) // the pattern is sound
	paths = slices.DeleteFunc(paths, func(p string) bool { return strings.HasPrefix(filepath.Base(p), "adapter") })
	most := int64(0)
	for _, path := range paths {
		set, err := safetensors.Open(path)
		if err != nil {
			in.note(levelError, "weights", "%v", err)
			continue
		}
		in.Shards++
		for _, name := range set.Names() {
			t, _ := set.Tensor(name)
			as := torchNames[t.DType]
			if as == "" {
				as = t.DType.String()
			}
			n := int64(len(t.Data))
			in.DTypes[as] += n
			in.Bytes += n
			if strings.HasPrefix(as, "float") || as == "bfloat16" {
				in.Parameters += t.NumElements()
			}
			if in.DTypes[as] > most {
				most, in.DType = in.DTypes[as], as
			}
		}
		if err := set.Close(); err != nil {
			in.note(levelWarn, "weights", "%v", err)
		}
	}
	in.missingShards(dir)
}

// missingShards names the files that the index places tensors in and that are not there.
func (in *inspection) missingShards(dir string) {
	data, err := os.ReadFile(filepath.Join(dir, safetensors.IndexFile))
	if err != nil {
		return
	}
	var index struct {
		WeightMap map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(data, &index); err != nil {
		in.note(levelError, "weights", "%s: %s", safetensors.IndexFile, jsonFault(err))
		return
	}
	missing := map[string]bool{}
	total := map[string]bool{}
	for _, shard := range index.WeightMap {
		total[shard] = true
		if _, err := os.Stat(filepath.Join(dir, filepath.Base(shard))); err != nil {
			missing[shard] = true
		}
	}
	if len(missing) > 0 {
		names := sortedNames(missing)
		in.note(levelError, "weights", "%d of %d files of weights are missing (%s): download them again", len(missing), len(total), few(names, 3))
	}
}

func sortedNames(set map[string]bool) []string {
	names := make([]string, 0, len(set))
	for name := range set {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// few lists at most n of the names.
func few(names []string, n int) string {
	if len(names) <= n {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:n], ", "), len(names)-n)
}

// sortHealth puts errors first, then warnings, each in the order in which they were found, and none twice.
func (in *inspection) sortHealth() {
	order := []string{levelError, levelWarn, levelInfo}
	slices.SortStableFunc(in.Health, func(a, b finding) int { return slices.Index(order, a.Level) - slices.Index(order, b.Level) })
	in.Health = slices.Compact(in.Health)
	if in.Health == nil {
		in.Health = []finding{}
	}
}

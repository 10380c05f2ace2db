package model

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// LoRAConfig is PEFT's adapter_config.json for LoRA and DoRA. What it does not have here is refused when an adapter is read.
type LoRAConfig struct {
	R              int
	Alpha          float64
	TargetModules  TargetModules // empty: PEFT's default for the family
	ExcludeModules TargetModules
	Dropout        float64
	RSLoRA         bool    // scale α/√r instead of α/r
	RankPattern    Pattern // r of modules whose path ends with a pattern
	AlphaPattern   Pattern
	// LayersToTransform are the numbers of the blocks to adapt, nil for all; LayersPattern names the list of blocks.
	LayersToTransform []int
	LayersPattern     []string
	// Bias says which biases of the base train: "none" (or empty), "all", or "lora_only", those of the adapted layers.
	Bias string
	DoRA bool // weight-decomposed (Liu et al. 2024)
	// ModulesToSave names modules, by the end of their paths, of which the adapter has copies of its own that train whole.
	ModulesToSave []string
	// EnsureWeightTying keeps a head that is the embedding one with it when ModulesToSave names either.
	EnsureWeightTying bool
	BaseModel         string // base_model_name_or_path
}

// The words of LoRAConfig.Bias.
const (
	BiasNone = "none"
	BiasAll  = "all"
	BiasLoRA = "lora_only"
)

// AllLinear is PEFT's word for every linear layer but the head.
const AllLinear = "all-linear"

// TargetModules is PEFT's target_modules: a list of names (a module's path or the end of it), or a regular expression
// that matches whole paths, or the word "all-linear".
type TargetModules struct {
	Names []string
	Regex string
}

// IsZero says whether nothing is named.
func (t TargetModules) IsZero() bool { return len(t.Names) == 0 && t.Regex == "" }

// MarshalJSON writes a list, a string or null.
func (t TargetModules) MarshalJSON() ([]byte, error) {
	switch {
	case t.Regex != "":
		return json.Marshal(t.Regex)
	case len(t.Names) > 0:
		return json.Marshal(t.Names)
	}
	return []byte("null"), nil
}

// UnmarshalJSON reads a list, a string or null.
func (t *TargetModules) UnmarshalJSON(data []byte) error {
	*t = TargetModules{}
	if len(data) > 0 && data[0] == '"' {
		return json.Unmarshal(data, &t.Regex)
	}
	return json.Unmarshal(data, &t.Names)
}

// matches follows PEFT's check_target_module_exists.
func (t TargetModules) matches(path string) (bool, error) {
	switch {
	case t.Regex == AllLinear:
		return true, nil
	case t.Regex != "":
		re, err := regexp.Compile(`^(?:` + t.Regex + `)$`)
		if err != nil {
			return false, fmt.Errorf("regular expression %q: %w (Go's expressions have no look-around)", t.Regex, err)
		}
		return re.MatchString(path), nil
	}
	return slices.ContainsFunc(t.Names, func(name string) bool {
		return path == name || strings.HasSuffix(path, "."+name)
	}), nil
}

// Pattern maps ends of module paths (regular expressions) to a rank or an alpha; the first that matches counts, so the
// order of the file is kept.
type Pattern []PatternValue

// PatternValue is one entry of a [Pattern].
type PatternValue struct {
	Module string
	Value  float64
}

// MarshalJSON writes an object in the pattern's order.
func (p Pattern) MarshalJSON() ([]byte, error) {
	out := []byte{'{'}
	for i, v := range p {
		if i > 0 {
			out = append(out, ',')
		}
		key, err := json.Marshal(v.Module)
		if err != nil {
			return nil, err
		}
		out = append(append(out, key...), ':')
		out = strconv.AppendFloat(out, v.Value, 'g', -1, 64)
	}
	return append(out, '}'), nil
}

// UnmarshalJSON reads an object and keeps its order.
func (p *Pattern) UnmarshalJSON(data []byte) error {
	*p = nil
	d := json.NewDecoder(bytes.NewReader(data))
	open, err := d.Token()
	if err != nil || open == nil {
		return err
	}
	if open != json.Delim('{') {
		return errors.New("not an object")
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return err
		}
		v := PatternValue{Module: key.(string)} // the decoder lets nothing else be a key
		if err := d.Decode(&v.Value); err != nil {
			return err
		}
		*p = append(*p, v)
	}
	return nil
}

// value is that of the first pattern that matches a path, as PEFT's get_pattern_key finds it.
func (p Pattern) value(path string, fallback float64) (float64, error) {
	for _, v := range p {
		re, err := regexp.Compile(`^(?:.*\.)?(?:` + v.Module + `)$`)
		if err != nil {
			return 0, fmt.Errorf("pattern %q: %w", v.Module, err)
		}
		if re.MatchString(path) {
			return v.Value, nil
		}
	}
	return fallback, nil
}

// pairShape is the rank and the scale of the addition to one module; rank 0 is none.
func (c *LoRAConfig) pairShape(path string, layer int) (rank int, scale float64, err error) {
	targets := c.TargetModules
	if out, err := c.ExcludeModules.matches(path); err != nil || out {
		return 0, 0, wrapKey("exclude_modules", err)
	}
	if in, err := targets.matches(path); err != nil || !in {
		return 0, 0, wrapKey("target_modules", err)
	}
	if c.LayersToTransform != nil && targets.Regex == "" && !slices.Contains(c.LayersToTransform, layer) {
		return 0, 0, nil
	}
	r, err := c.RankPattern.value(path, float64(c.R))
	if err != nil {
		return 0, 0, wrapKey("rank_pattern", err)
	}
	alpha, err := c.AlphaPattern.value(path, c.Alpha)
	if err != nil {
		return 0, 0, wrapKey("alpha_pattern", err)
	}
	if r < 1 || r != float64(int(r)) || r > maxRank {
		return 0, 0, fmt.Errorf("r: %v for %s is not a whole number from 1 to %d", r, path, maxRank)
	}
	if c.RSLoRA {
		return int(r), alpha / math.Sqrt(r), nil
	}
	return int(r), alpha / r, nil
}

const maxRank = 1 << 14

func wrapKey(key string, err error) error {
	if err != nil {
		err = fmt.Errorf("%s: %w", key, err)
	}
	return err
}

// check refuses what no module could have.
func (c *LoRAConfig) check() error {
	switch {
	case c.Dropout < 0 || c.Dropout >= 1 || c.Dropout != c.Dropout:
		return fmt.Errorf("lora_dropout: %v is not from 0 to below 1", c.Dropout)
	case c.R < 1 || c.R > maxRank:
		return fmt.Errorf("r: %d is not from 1 to %d", c.R, maxRank)
	case c.Alpha != c.Alpha || c.Alpha-c.Alpha != 0:
		return fmt.Errorf("lora_alpha: %v is not finite", c.Alpha)
	case !slices.Contains([]string{"", BiasNone, BiasAll, BiasLoRA}, c.Bias):
		return fmt.Errorf("bias: %q is none of none, all, lora_only", c.Bias)
	case slices.Contains(c.ModulesToSave, ""):
		return errors.New("modules_to_save: a name is empty")
	case len(c.LayersPattern) > 0 && c.LayersToTransform == nil:
		return errors.New("layers_pattern: it needs layers_to_transform beside it")
	}
	return nil
}

// neutral are the keys of adapter_config.json that change nothing at these values (or when null, empty or false), and what
// to say otherwise. Keys that are not listed here nor read are refused unless null, empty or false.
var neutral = map[string]string{
	"fan_in_fan_out": "false", "init_lora_weights": "*", "inference_mode": "*", "task_type": "*",
	"peft_version": "*", "revision": "*", "auto_mapping": "*", "megatron_core": "*", "qalora_group_size": "*",
	"runtime_config": "*", "loftq_config": "*", "eva_config": "*", "corda_config": "*", "lora_ga_config": "*",
	"_custom_modules": "*",
}

// parseLoRAConfig reads PEFT's adapter_config.json of a LoRA.
func parseLoRAConfig(k *keys) (LoRAConfig, error) {
	var c LoRAConfig
	c.R = decode(k, "r", 8, "a whole number")
	c.Alpha = k.number("lora_alpha", 8)
	c.Dropout = k.number("lora_dropout", 0)
	c.RSLoRA = k.flag("use_rslora", false)
	c.BaseModel = k.text("base_model_name_or_path", "")
	c.TargetModules = decode(k, "target_modules", TargetModules{}, "a list of names or a string")
	c.ExcludeModules = decode(k, "exclude_modules", TargetModules{}, "a list of names or a string")
	c.RankPattern = decode[Pattern](k, "rank_pattern", nil, "an object of numbers")
	c.AlphaPattern = decode[Pattern](k, "alpha_pattern", nil, "an object of numbers")
	c.LayersToTransform = decode[oneOrMany[int]](k, "layers_to_transform", nil, "a number or a list of numbers")
	c.LayersPattern = decode[oneOrMany[string]](k, "layers_pattern", nil, "a name or a list of names")
	c.Bias = k.text("bias", BiasNone)
	c.DoRA = k.flag("use_dora", false)
	c.ModulesToSave = decode[[]string](k, "modules_to_save", nil, "a list of names")
	c.EnsureWeightTying = k.flag("ensure_weight_tying", false)
	read := []string{
		"peft_type", "r", "lora_alpha", "lora_dropout", "use_rslora", "base_model_name_or_path", "target_modules",
		"exclude_modules", "rank_pattern", "alpha_pattern", "layers_to_transform", "layers_pattern",
		"bias", "use_dora", "modules_to_save", "ensure_weight_tying",
	}
	k.refuseOthers(read, neutral)
	if k.err != nil {
		return c, k.err
	}
	if err := c.check(); err != nil {
		return c, fmt.Errorf("adapter_config.json: %w", err)
	}
	return c, nil
}

// oneOrMany is a JSON value or a list of them.
type oneOrMany[T any] []T

func (v *oneOrMany[T]) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '[' {
		return json.Unmarshal(data, (*[]T)(v))
	}
	var one T
	if err := json.Unmarshal(data, &one); err != nil {
		return err
	}
	*v = []T{one}
	return nil
}

// JSON is adapter_config.json with the keys that every version of PEFT knows, sorted as it sorts them.
func (c LoRAConfig) JSON() ([]byte, error) {
	names := slices.Clone(c.TargetModules.Names)
	slices.Sort(names)
	fields := map[string]any{
		"alpha_pattern": c.AlphaPattern, "auto_mapping": nil, "base_model_name_or_path": c.BaseModel, "bias": cmp.Or(c.Bias, BiasNone),
		"fan_in_fan_out": false, "inference_mode": true, "init_lora_weights": true,
		"layers_pattern": listOrNil(c.LayersPattern), "layers_to_transform": listOrNil(c.LayersToTransform),
		"lora_alpha": c.Alpha, "lora_dropout": c.Dropout, "modules_to_save": listOrNil(c.ModulesToSave), "peft_type": "LORA", "r": c.R,
		"rank_pattern": c.RankPattern, "revision": nil, "target_modules": TargetModules{Names: names, Regex: c.TargetModules.Regex},
		"task_type": "CAUSAL_LM", "use_dora": c.DoRA, "use_rslora": c.RSLoRA,
	}
	if !c.ExcludeModules.IsZero() {
		fields["exclude_modules"] = c.ExcludeModules
	}
	if c.EnsureWeightTying { // a key of newer versions only
		fields["ensure_weight_tying"] = true
	}
	out, err := json.MarshalIndent(fields, "", "  ")
	return append(out, '\n'), err
}

func listOrNil[T any](v []T) any {
	if v == nil {
		return nil
	}
	return v
}

package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"lathe/compute"
)

// BottleneckConfig is the adapters library's adapter_config.json for bottleneck adapters (its BnConfig, adapters 1.3).
type BottleneckConfig struct {
	Name             string          // of the adapter, part of its tensors' names; "lathe" when empty
	Attention        bool            // mh_adapter: behind the attention
	Output           bool            // output_adapter: behind the MLP
	ReductionFactor  float64         // hidden size over the bottleneck's; 0 where every block has one of its own
	LayerFactors     map[int]float64 // those of single blocks
	NonLinearity     string          // transformers' name of the activation
	OriginalLNBefore bool            // the adapter reads the residual sum (and, for Gemma 2 and 3, its norm), not the branch alone
	LeaveOut         []int           // blocks without adapters
	Scaling          float64
	Dropout          float64
	InitWeights      string // bert, mam_adapter or houlsby
	BaseModel        string // model_name

	modelType, modelClass string
	hidden                int
}

// Houlsby is the configuration double_seq_bn of the adapters library (Houlsby et al. 2019): an adapter behind the attention and one
// behind the MLP of every block.
func Houlsby() BottleneckConfig {
	return BottleneckConfig{Attention: true, Output: true, ReductionFactor: 16, NonLinearity: "swish", Scaling: 1, InitWeights: "bert"}
}

// Pfeiffer is the configuration seq_bn of the adapters library (Pfeiffer et al. 2020): one adapter behind the MLP of every block,
// which reads the residual sum.
func Pfeiffer() BottleneckConfig {
	return BottleneckConfig{Output: true, ReductionFactor: 16, NonLinearity: "relu", OriginalLNBefore: true, Scaling: 1, InitWeights: "bert"}
}

// Method is bottleneck adapters.
func (BottleneckConfig) Method() string { return "bottleneck adapter" }

// nonLinearities are the activations of the adapters library that devices have.
var nonLinearities = map[string]compute.Act{
	"relu": compute.ReLU, "swish": compute.SiLU, "silu": compute.SiLU, "gelu": compute.GELU, "gelu_new": compute.GELUTanh,
	"gelu_pytorch_tanh": compute.GELUTanh, "tanh": compute.Tanh, "leakyrelu": compute.LeakyReLU,
}

// NonLinearities are the names that BottleneckConfig.NonLinearity may have, sorted.
func NonLinearities() []string { return slices.Sorted(maps.Keys(nonLinearities)) }

// check refuses what no base could have.
func (c *BottleneckConfig) check() error {
	_, known := nonLinearities[strings.ToLower(c.NonLinearity)]
	switch {
	case !c.Attention && !c.Output:
		return errors.New("mh_adapter: neither it nor output_adapter is on: there would be no adapter")
	case !known:
		return fmt.Errorf("non_linearity: %q is not supported (%s)", c.NonLinearity, strings.Join(NonLinearities(), ", "))
	case !(c.Dropout >= 0 && c.Dropout < 1):
		return fmt.Errorf("dropout: %v is not from 0 to below 1", c.Dropout)
	case c.Scaling-c.Scaling != 0:
		return fmt.Errorf("scaling: %v is not finite", c.Scaling)
	case !slices.Contains([]string{"bert", "mam_adapter", "houlsby"}, c.InitWeights):
		return fmt.Errorf("init_weights: %q is none of bert, mam_adapter, houlsby", c.InitWeights)
	}
	factors := slices.Collect(maps.Values(c.LayerFactors))
	if c.ReductionFactor != 0 || len(factors) == 0 {
		factors = append(factors, c.ReductionFactor)
	}
	for _, f := range factors {
		if !(f > 0) || math.IsInf(f, 0) {
			return fmt.Errorf("reduction_factor: %v is not a number above 0", f)
		}
	}
	return nil
}

// size is the width of the bottleneck in a block: hidden // reduction_factor, at least 1.
func (c *BottleneckConfig) size(hidden, layer int) (int, error) {
	factor, ok := c.LayerFactors[layer]
	if !ok {
		factor = c.ReductionFactor
	}
	if factor == 0 {
		return 0, fmt.Errorf("reduction_factor: block %d has none of its own, and there is no default", layer)
	}
	width := math.Floor(float64(hidden) / factor)
	if width > maxSize {
		return 0, fmt.Errorf("reduction_factor: %v makes a bottleneck of %.0f", factor, width)
	}
	return max(1, int(width)), nil
}

// bottleneckNeutral are the library's keys at the values that this implementation has.
var bottleneckNeutral = map[string]string{
	"residual_before_ln": "true", "adapter_residual_before_ln": "*", "original_ln_after": "true", "init_weights_seed": "*",
	"inv_adapter_reduction_factor": "*", "factorized_phm_W": "*", "factorized_phm_rule": "*", "hypercomplex_nonlinearity": "*",
	"learn_phm": "*", "phm_bias": "*", "phm_c_init": "*", "phm_dim": "*", "phm_init_range": "*", "phm_rank": "*", "shared_W_phm": "*",
	"shared_phm_rule": "*", "stochastic_depth": "0", "cross_adapter": "*",
}

// parseBottleneckConfig reads the adapters library's adapter_config.json.
func parseBottleneckConfig(k *keys) (BottleneckConfig, error) {
	c := BottleneckConfig{
		Name: k.text("name", ""), BaseModel: k.text("model_name", ""), modelType: k.text("model_type", ""),
		modelClass: k.text("model_class", ""), hidden: decode(k, "hidden_size", 0, "a whole number"),
	}
	o := k.object("config")
	if o == nil {
		k.fail("config", errors.New("the key is missing"))
		return c, k.err
	}
	c.Attention, c.Output = o.flag("mh_adapter", false), o.flag("output_adapter", false)
	c.NonLinearity = o.text("non_linearity", "")
	c.OriginalLNBefore = o.flag("original_ln_before", false)
	c.LeaveOut = decode[[]int](o, "leave_out", nil, "a list of numbers")
	c.Scaling, c.Dropout = o.number("scaling", 1), o.number("dropout", 0)
	c.InitWeights = o.text("init_weights", "bert")
	c.readFactors(o)
	o.refuseOthers([]string{
		"mh_adapter", "output_adapter", "non_linearity", "original_ln_before", "leave_out", "scaling", "dropout", "init_weights",
		"reduction_factor",
	}, bottleneckNeutral)
	for _, key := range []string{"residual_before_ln", "original_ln_after"} { // false is not neutral here
		if !o.flag(key, true) {
			o.fail(key, errors.New("false is not supported; the adapter would give other results without it"))
		}
	}
	k.join(o)
	if k.err != nil {
		return c, k.err
	}
	if err := c.check(); err != nil {
		return c, fmt.Errorf("%s: %w", AdapterConfigFile, err)
	}
	return c, nil
}

// readFactors reads one factor, or those of single blocks with a "default" beside.
func (c *BottleneckConfig) readFactors(o *keys) {
	if raw := o.raw["reduction_factor"]; len(raw) == 0 || raw[0] != '{' {
		c.ReductionFactor = o.need("reduction_factor")
		return
	}
	c.LayerFactors = map[int]float64{}
	for name, f := range decode[map[string]float64](o, "reduction_factor", nil, "a number, or an object of numbers") {
		layer, err := strconv.Atoi(name)
		switch {
		case name == "default" && f > 0:
			c.ReductionFactor = f
		case name == "default":
			o.fail("reduction_factor", fmt.Errorf("%v is not a number above 0", f))
		case err != nil || layer < 0:
			o.fail("reduction_factor", fmt.Errorf("%q is neither a block's number nor default", clip([]byte(name))))
		default:
			c.LayerFactors[layer] = f
		}
	}
}

// JSON is adapter_config.json with the keys that adapters 1.3 writes.
func (c BottleneckConfig) JSON() ([]byte, error) {
	var factor any = c.ReductionFactor
	if len(c.LayerFactors) > 0 {
		factors := map[string]float64{}
		for layer, f := range c.LayerFactors {
			factors[strconv.Itoa(layer)] = f
		}
		if c.ReductionFactor != 0 {
			factors["default"] = c.ReductionFactor
		}
		factor = factors
	}
	config := map[string]any{
		"adapter_residual_before_ln": false, "cross_adapter": false, "dropout": jsonFloat(c.Dropout), "factorized_phm_W": true,
		"factorized_phm_rule": false, "hypercomplex_nonlinearity": "glorot-uniform", "init_weights": c.InitWeights,
		"init_weights_seed": nil, "inv_adapter": nil, "inv_adapter_reduction_factor": nil, "is_parallel": false, "learn_phm": true,
		"leave_out": append([]int{}, c.LeaveOut...), "ln_after": false, "ln_before": false, "mh_adapter": c.Attention,
		"non_linearity": c.NonLinearity, "original_ln_after": true, "original_ln_before": c.OriginalLNBefore,
		"output_adapter": c.Output, "phm_bias": true, "phm_c_init": "normal", "phm_dim": 4, "phm_init_range": 0.0001,
		"phm_layer": false, "phm_rank": 1, "reduction_factor": factor, "residual_before_ln": true, "scaling": jsonFloat(c.Scaling),
		"shared_W_phm": false, "shared_phm_rule": true, "stochastic_depth": jsonFloat(0), "use_gating": false,
	}
	out, err := json.MarshalIndent(map[string]any{
		"config": config, "hidden_size": c.hidden, "model_class": c.modelClass, "model_name": c.BaseModel, "model_type": c.modelType,
		"name": c.Name, "version": "adapters.1.3.0",
	}, "", "  ")
	return append(out, '\n'), err
}

// jsonFloat keeps the point of a whole number: the library tells a factor of 1.0 from other values by its type.
type jsonFloat float64

// MarshalJSON writes a number with a point.
func (f jsonFloat) MarshalJSON() ([]byte, error) {
	text := strconv.FormatFloat(float64(f), 'g', -1, 64)
	if !strings.ContainsAny(text, ".e") {
		text += ".0"
	}
	return []byte(text), nil
}

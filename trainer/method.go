package trainer

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"lathe/compute"
	"lathe/model"
)

// section is the key of run.yaml that holds a method's options.
func (m Method) section() string {
	switch m {
	case MethodAdapter, MethodPrefix:
		return string(m)
	case MethodFull:
		return ""
	}
	return "lora"
}

// quantType is the code book of bnb_4bit_quant_type.
func (c Config) quantType() compute.QuantType {
	if c.QuantType == compute.FP4.String() {
		return compute.FP4
	}
	return compute.NF4
}

// adapterConfig is what run.yaml asks for, in the model's words; nil for a full fine-tuning.
func (c Config) adapterConfig() model.AdapterConfig {
	switch c.Method {
	case MethodFull:
		return nil
	case MethodPrefix:
		return model.PrefixConfig{
			VirtualTokens: c.Prefix.VirtualTokens, Projection: c.Prefix.Projection, EncoderHidden: c.Prefix.EncoderHiddenSize,
			BaseModel: c.ModelNameOrPath,
		}
	case MethodAdapter:
		b := bottleneckKinds[c.Adapter.Config]()
		b.ReductionFactor, b.NonLinearity, b.LeaveOut = c.Adapter.ReductionFactor, c.Adapter.NonLinearity, c.Adapter.LeaveOut
		b.Dropout, b.BaseModel = c.Adapter.Dropout, c.ModelNameOrPath
		return b
	}
	return c.loraConfig()
}

// bottleneckKinds are the names of adapter.config: the papers' and the adapters library's.
var bottleneckKinds = map[string]func() model.BottleneckConfig{
	"houlsby": model.Houlsby, "double_seq_bn": model.Houlsby, "pfeiffer": model.Pfeiffer, "seq_bn": model.Pfeiffer,
}

// loraConfig gives PEFT's configuration in the model's words.
func (c Config) loraConfig() model.LoRAConfig {
	l := c.LoRA
	return model.LoRAConfig{
		R: l.R, Alpha: l.Alpha, Dropout: l.Dropout, RSLoRA: l.UseRSLoRA, DoRA: l.UseDoRA, Bias: l.Bias,
		TargetModules: l.TargetModules, ExcludeModules: l.ExcludeModules, ModulesToSave: l.ModulesToSave,
		EnsureWeightTying: l.EnsureWeightTying, RankPattern: l.RankPattern, AlphaPattern: l.AlphaPattern,
		LayersToTransform: l.LayersToTransform, LayersPattern: l.LayersPattern, BaseModel: c.ModelNameOrPath,
	}
}

// moduleNames reads modules as PEFT does: a list holds paths or ends of them, a text is "all-linear" or a regular expression of whole
// paths. Beyond PEFT, "all-linear" may stand in a list and a single name outside of one.
func moduleNames(texts StringList, list bool) model.TargetModules {
	switch {
	case len(texts) == 1 && strings.EqualFold(texts[0], model.AllLinear):
		return model.TargetModules{Regex: model.AllLinear}
	case len(texts) == 1 && !list && strings.ContainsAny(texts[0], `.*+?()[]|^$\`):
		return model.TargetModules{Regex: texts[0]}
	}
	return model.TargetModules{Names: texts}
}

// planned is the configuration of the adapter that will be trained: that of the folder to go on from, or run.yaml's. A run that is
// resumed has its own, and no longer needs the folder.
func (c Config) planned(resuming bool) (model.AdapterConfig, error) {
	if c.Method == MethodFull || c.AdapterNameOrPath == "" {
		return c.adapterConfig(), nil
	}
	own, err := model.ReadAdapterConfig(c.AdapterNameOrPath)
	if err != nil && resuming {
		return c.adapterConfig(), nil
	}
	if err != nil {
		return nil, fmt.Errorf("adapter_name_or_path: %w", err)
	}
	if want := c.adapterConfig(); fmt.Sprintf("%T", own) != fmt.Sprintf("%T", want) {
		return nil, faultf(0, "adapter_name_or_path: %s holds a %s, but method %s trains a %s: give the method that made it",
			c.AdapterNameOrPath, own.Method(), c.Method, want.Method())
	}
	return own, nil
}

// adapterNotices tells where the adapter that training goes on from is not what run.yaml describes: its own shape holds.
func (r *Run) adapterNotices() {
	type difference struct {
		key       string
		own, want any
	}
	var list []difference
	switch own := r.adapter.Config().(type) {
	case model.LoRAConfig:
		want := r.config.loraConfig()
		list = []difference{
			{"r", own.R, want.R},
			{"lora_alpha", own.Alpha, want.Alpha},
			{"use_rslora", own.RSLoRA, want.RSLoRA},
			{"lora_dropout", own.Dropout, want.Dropout},
			{"use_dora", own.DoRA, want.DoRA},
			{"bias", own.Bias, want.Bias},
			{"modules_to_save", strings.Join(own.ModulesToSave, ", "), strings.Join(want.ModulesToSave, ", ")},
		}
	case model.PrefixConfig:
		list = []difference{
			{"num_virtual_tokens", own.VirtualTokens, r.config.Prefix.VirtualTokens},
			{"prefix_projection", own.Projection, r.config.Prefix.Projection},
		}
	case model.BottleneckConfig:
		want := r.config.adapterConfig().(model.BottleneckConfig) // planned has compared the types
		list = []difference{
			{"config", bottleneckName(own), bottleneckName(want)},
			{"reduction_factor", own.ReductionFactor, want.ReductionFactor},
			{"non_linearity", own.NonLinearity, want.NonLinearity},
			{"dropout", own.Dropout, want.Dropout},
		}
	}
	for _, d := range list {
		if d.own != d.want {
			r.notice(fmt.Sprintf("%s.%s: the adapter that training goes on from has %v, not %v; its own holds", r.config.Method.section(), d.key, d.own, d.want))
		}
	}
}

func bottleneckName(c model.BottleneckConfig) string {
	if c.Attention {
		return "houlsby"
	}
	return "pfeiffer"
}

func (c Config) checkMethod(fault faultFunc) {
	methods := []string{string(MethodFull), string(MethodLoRA), string(MethodQLoRA), string(MethodAdapter), string(MethodPrefix)}
	known := slices.Contains(methods, string(c.Method))
	fault(!known, "method: %q is none of %s", c.Method, strings.Join(methods, ", "))
	fault(c.Method == MethodQLoRA && !c.LoadIn4bit, "load_in_4bit: method qlora trains on a 4-bit base; use method lora, or load_in_4bit: true")
	fault(c.Method == MethodFull && c.LoadIn4bit, "load_in_4bit: method full trains every weight, and 4-bit ones cannot be trained; use method qlora, or load_in_4bit: false")
	fault(c.Method == MethodFull && c.AdapterNameOrPath != "", "adapter_name_or_path: method full has no adapter; use method lora or qlora")
	fault(!slices.Contains([]string{"nf4", "fp4"}, c.QuantType), "bnb_4bit_quant_type: %q is none of nf4, fp4", c.QuantType)
	fault(!slices.Contains([]string{"bfloat16", "float16", "float32"}, c.QuantComputeDType),
		"bnb_4bit_compute_dtype: %q is none of bfloat16, float16, float32", c.QuantComputeDType)
	switch c.Method {
	case MethodLoRA, MethodQLoRA:
		c.LoRA.check(fault)
	case MethodAdapter:
		c.Adapter.check(fault)
	case MethodPrefix:
		c.Prefix.check(fault)
	case MethodFull:
	}
}

func (l LoRAConfig) check(fault faultFunc) {
	fault(l.R < 1, "lora.r: %d is no rank; give 1 or more, such as 16", l.R)
	fault(!(l.Alpha > 0) || math.IsInf(l.Alpha, 0), "lora.lora_alpha: %v is no scale; give a number above 0, such as 32", l.Alpha)
	fault(!(l.Dropout >= 0 && l.Dropout < 1), "lora.lora_dropout: %v is no probability; give one from 0 to below 1", l.Dropout)
	fault(!slices.Contains([]string{model.BiasNone, model.BiasAll, model.BiasLoRA}, l.Bias), "lora.bias: %q is none of none, all, lora_only", l.Bias)
	fault(slices.Contains(l.TargetModules.Names, ""), "lora.target_modules: a name is empty; name linear layers such as [q_proj, v_proj], or all-linear")
	fault(slices.Contains(l.ExcludeModules.Names, ""), "lora.exclude_modules: a name is empty")
	fault(slices.Contains(l.ModulesToSave, ""), "lora.modules_to_save: a name is empty; name modules such as [embed_tokens, lm_head]")
	for _, n := range l.LayersToTransform {
		fault(n < 0, "lora.layers_to_transform: %d is no block's number; they count from 0", n)
	}
	fault(len(l.LayersPattern) > 0 && len(l.LayersToTransform) == 0, "lora.layers_pattern: it needs lora.layers_to_transform beside it")
	for _, p := range l.RankPattern {
		fault(p.Value < 1 || p.Value != math.Trunc(p.Value), "lora.rank_pattern: %s: %v is no rank; give a whole number from 1 up", p.Module, p.Value)
	}
}

func (a AdapterConfig) check(fault faultFunc) {
	fault(bottleneckKinds[a.Config] == nil, "adapter.config: %q is none of houlsby, pfeiffer", a.Config)
	fault(!(a.ReductionFactor > 0) || math.IsInf(a.ReductionFactor, 0), "adapter.reduction_factor: %v divides no width; give a number above 0, such as 16", a.ReductionFactor)
	fault(!slices.Contains(model.NonLinearities(), strings.ToLower(a.NonLinearity)),
		"adapter.non_linearity: %q is none of %s", a.NonLinearity, strings.Join(model.NonLinearities(), ", "))
	fault(!(a.Dropout >= 0 && a.Dropout < 1), "adapter.dropout: %v is no probability; give one from 0 to below 1", a.Dropout)
}

func (p PrefixConfig) check(fault faultFunc) {
	fault(p.VirtualTokens < 1, "prefix.num_virtual_tokens: %d; give 1 or more, such as 20", p.VirtualTokens)
	fault(p.EncoderHiddenSize < 0, "prefix.encoder_hidden_size: %d; give 1 or more, or leave it out", p.EncoderHiddenSize)
	fault(p.EncoderHiddenSize > 0 && !p.Projection, "prefix.encoder_hidden_size: it is the width of the projection; set prefix_projection: true too")
}

package model

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
)

// RoPE is the configuration of a rotary embedding.
type RoPE struct {
	Theta   float64 // rope_theta
	Type    string  // default, linear, dynamic, yarn, longrope or llama3
	Factor  float64
	Partial float64 // partial_rotary_factor: the share of each head that is rotated; 0 is all
	// LowFreqFactor and HighFreqFactor are llama3's.
	LowFreqFactor, HighFreqFactor float64
	// OriginalContext, original_max_position_embeddings, is llama3's, yarn's and longrope's.
	OriginalContext int
	// AttentionFactor multiplies cosines and sines (yarn, longrope); 0 is 1.
	AttentionFactor float64
	// BetaFast, BetaSlow and NoTruncate are yarn's.
	BetaFast, BetaSlow float64
	NoTruncate         bool
	// ShortFactor and LongFactor are longrope's, one for each pair.
	ShortFactor, LongFactor []float64
}

// byLength says whether the angles depend on the length of the sequence.
func (r *RoPE) byLength() bool { return r.Type == "dynamic" || r.Type == "longrope" }

// rotary is the number of dimensions of a head that are rotated.
func (r *RoPE) rotary(c *Config) int {
	if r.Partial == 0 {
		return c.HeadDim
	}
	return int(float64(c.HeadDim) * r.Partial)
}

// ropeKeys are the keys of a scaling's object by its type; those of "" are allowed in all, since transformers passes over
// them where they mean nothing.
var ropeKeys = map[string][]string{
	"":         {"rope_theta", "rope_type", "type", "partial_rotary_factor", "factor", "original_max_position_embeddings", "finetuned"},
	"yarn":     {"attention_factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim", "truncate"},
	"longrope": {"attention_factor", "short_factor", "long_factor"},
	"llama3":   {"low_freq_factor", "high_freq_factor"},
}

// readRoPE reads rope_theta and rope_scaling (transformers 4) or rope_parameters (5), which then holds both, and for Gemma 3
// one of each for full and for sliding attention.
func (c *Config) readRoPE(k *keys, f *family) {
	theta, partial := f.spell("rope_theta"), f.spell("partial_rotary_factor")
	c.RoPE = RoPE{Theta: k.number(theta, 10000), Type: "default"}
	if f.partialRotary() {
		c.RoPE.Partial = k.number(partial, 1)
	}
	if k.has("rope_local_base_freq") && c.Sliding != nil {
		c.LocalRoPE = &RoPE{Theta: k.number("rope_local_base_freq", 10000), Type: "default"}
	}
	key := "rope_scaling"
	if !k.has(key) {
		key = "rope_parameters"
	}
	if sub := k.object(key); sub != nil {
		full, local := sub.object(fullAttention), sub.object(slidingAttention)
		switch {
		case full == nil && local == nil && c.LocalRoPE != nil && key == "rope_parameters":
			sub.fail(fullAttention, errors.New("the key is missing: this family has one object for each type of layer"))
		case full == nil && local == nil:
			c.RoPE.read(c, f, sub, k)
		case c.LocalRoPE == nil:
			sub.fail(fullAttention, fmt.Errorf("rotations by type of layer are not supported for %s", f.architecture))
		default:
			if full != nil {
				c.RoPE.read(c, f, full, k)
				sub.join(full)
			}
			if local != nil {
				c.LocalRoPE.read(c, f, local, k)
				sub.join(local)
			}
		}
		k.join(sub)
	}
	if p := c.RoPE.Partial; p <= 0 && f.partialRotary() || p > 1 {
		k.fail(partial, fmt.Errorf("%v is not a share of a head", p))
	}
	if c.RoPE.Partial == 1 {
		c.RoPE.Partial = 0
	}
	if c.RoPE.Theta <= 0 {
		k.fail(theta, fmt.Errorf("%v is not above 0", c.RoPE.Theta))
	}
	if l := c.LocalRoPE; l != nil && l.Theta <= 0 {
		k.fail("rope_local_base_freq", fmt.Errorf("%v is not above 0", l.Theta))
	}
}

// partialRotary says whether a family's code honours partial_rotary_factor.
func (f *family) partialRotary() bool { return f.name == "gpt_neox" || f.name == "phi3" }

// read takes one object of rotary parameters; top is config.json itself.
func (r *RoPE) read(c *Config, f *family, k, top *keys) {
	r.Theta = k.number("rope_theta", r.Theta)
	r.Type = k.text("rope_type", k.text("type", "default"))
	if f.name == "phi3" && (r.Type == "su" || r.Type == "yarn") { // as its first checkpoints call it
		r.Type = "longrope"
	} else if f.name == "phi3" && r.Type != "default" && r.Type != "longrope" {
		k.fail("rope_type", fmt.Errorf("%q is not supported for %s (default or longrope)", r.Type, f.architecture))
	}
	if p := k.number("partial_rotary_factor", 1); f.partialRotary() && k.has("partial_rotary_factor") {
		r.Partial = p
	} else if p != 1 {
		k.fail("partial_rotary_factor", fmt.Errorf("%v is not supported for %s", p, f.architecture))
	}
	for _, key := range slices.Sorted(maps.Keys(k.raw)) {
		if k.has(key) && !slices.Contains(ropeKeys[""], key) && !slices.Contains(ropeKeys[r.Type], key) {
			k.fail(key, fmt.Errorf("not a key of rope_type %q", r.Type))
		}
	}
	switch r.Type {
	case "default":
	case "linear", "dynamic":
		r.readFactor(k)
	case "llama3":
		r.readFactor(k)
		r.OriginalContext = k.size("original_max_position_embeddings", c.ContextLength)
		r.LowFreqFactor, r.HighFreqFactor = k.need("low_freq_factor"), k.need("high_freq_factor")
		if k.err == nil && r.HighFreqFactor <= r.LowFreqFactor {
			k.fail("high_freq_factor", fmt.Errorf("%v is not above low_freq_factor %v", r.HighFreqFactor, r.LowFreqFactor))
		}
	case "yarn":
		r.readYarn(c, k)
	case "longrope":
		r.readLongRoPE(c, k, top)
	default:
		k.fail("rope_type", fmt.Errorf("%q is not supported (default, linear, dynamic, yarn, longrope or llama3)", r.Type))
	}
}

func (r *RoPE) readFactor(k *keys) {
	if r.Factor = k.need("factor"); k.err == nil && r.Factor < 1 {
		k.fail("factor", fmt.Errorf("%v is below 1", r.Factor))
	}
}

// ropeFields writes the rotary parameters as transformers 4 does.
func (c *Config) ropeFields(f *family, out map[string]any) {
	out[f.spell("rope_theta")] = float(c.RoPE.Theta, 64)
	if f.partialRotary() {
		out[f.spell("partial_rotary_factor")] = float(1, 64)
		if c.RoPE.Partial > 0 {
			out[f.spell("partial_rotary_factor")] = float(c.RoPE.Partial, 64)
		}
	}
	if c.LocalRoPE != nil {
		out["rope_local_base_freq"] = float(c.LocalRoPE.Theta, 64)
	}
	r := &c.RoPE
	scaling := map[string]any{"rope_type": r.Type}
	switch r.Type {
	case "default", "":
		return
	case "linear", "dynamic":
		scaling["factor"] = float(r.Factor, 64)
	case "llama3":
		scaling["factor"], scaling["original_max_position_embeddings"] = float(r.Factor, 64), r.OriginalContext
		scaling["low_freq_factor"], scaling["high_freq_factor"] = float(r.LowFreqFactor, 64), float(r.HighFreqFactor, 64)
	case "yarn":
		scaling["factor"], scaling["original_max_position_embeddings"] = float(r.Factor, 64), r.OriginalContext
		scaling["attention_factor"], scaling["truncate"] = float(r.AttentionFactor, 64), !r.NoTruncate
		scaling["beta_fast"], scaling["beta_slow"] = float(r.BetaFast, 64), float(r.BetaSlow, 64)
	case "longrope":
		scaling["original_max_position_embeddings"], scaling["attention_factor"] = r.OriginalContext, float(r.AttentionFactor, 64)
		scaling["factor"], scaling["short_factor"], scaling["long_factor"] = float(r.Factor, 64), r.ShortFactor, r.LongFactor
		if f.name == "phi3" {
			out["original_max_position_embeddings"] = r.OriginalContext
		}
	}
	out["rope_scaling"] = scaling
}

// readYarn follows transformers' _compute_yarn_parameters (Peng et al. 2023).
func (r *RoPE) readYarn(c *Config, k *keys) {
	r.OriginalContext = k.size("original_max_position_embeddings", c.ContextLength)
	r.Factor = float64(c.ContextLength) / float64(r.OriginalContext)
	if k.has("factor") {
		r.readFactor(k)
	}
	scale := func(mscale float64) float64 {
		if r.Factor <= 1 {
			return 1
		}
		return 0.1*mscale*math.Log(r.Factor) + 1
	}
	r.AttentionFactor = scale(1)
	if m, all := k.number("mscale", 0), k.number("mscale_all_dim", 0); m != 0 && all != 0 {
		r.AttentionFactor = scale(m) / scale(all)
	}
	r.readAttentionFactor(k)
	r.BetaFast, r.BetaSlow = cmp.Or(k.number("beta_fast", 32), 32), cmp.Or(k.number("beta_slow", 1), 1)
	r.NoTruncate = !k.flag("truncate", true)
}

// readLongRoPE follows transformers' _compute_longrope_parameters (Ding et al. 2024). Phi-3 keeps the original context at the
// top of config.json, which counts first.
func (r *RoPE) readLongRoPE(c *Config, k, top *keys) {
	r.OriginalContext = k.size("original_max_position_embeddings", c.ContextLength)
	if top.has("original_max_position_embeddings") {
		r.OriginalContext = top.size("original_max_position_embeddings", c.ContextLength)
	}
	r.Factor = float64(c.ContextLength) / float64(r.OriginalContext)
	if k.has("factor") {
		r.readFactor(k)
	}
	r.AttentionFactor = 1
	if r.Factor > 1 {
		r.AttentionFactor = math.Sqrt(1 + math.Log(r.Factor)/math.Log(float64(r.OriginalContext)))
	}
	r.readAttentionFactor(k)
	r.ShortFactor = r.readFactors(c, k, "short_factor")
	r.LongFactor = r.readFactors(c, k, "long_factor")
}

func (r *RoPE) readAttentionFactor(k *keys) {
	if r.AttentionFactor = k.number("attention_factor", r.AttentionFactor); r.AttentionFactor <= 0 {
		k.fail("attention_factor", fmt.Errorf("%v is not above 0", r.AttentionFactor))
	}
}

// readFactors is a list of one factor for each pair of dimensions.
func (r *RoPE) readFactors(c *Config, k *keys, key string) []float64 {
	list := decode[[]float64](k, key, nil, "a list of numbers")
	if pairs := r.rotary(c) / 2; len(list) != pairs {
		k.fail(key, fmt.Errorf("%d numbers for %d pairs of dimensions", len(list), pairs))
	}
	if slices.ContainsFunc(list, func(x float64) bool { return x <= 0 }) {
		k.fail(key, errors.New("a factor is not above 0"))
	}
	return list
}

package model

import (
	"fmt"
	"math"

	"lathe/compute"
)

// rotary holds the cosines and sines of positions 0 … rows-1.
type rotary struct {
	cos, sin compute.Buffer // [rows, rotary/2]
	rows     int
}

// inverseFrequencies are transformers' inv_freq [rotary/2], with its float32 roundings: 1/θ^(2i/rotary), scaled as the
// config says for a sequence of so many tokens (ROPE_INIT_FUNCTIONS of modeling_rope_utils.py).
func (r *RoPE) inverseFrequencies(c *Config, length int) []float32 {
	dim, theta := r.rotary(c), r.Theta
	if r.Type == "dynamic" && length > c.ContextLength { // NTK: another base for each length beyond the context
		stretch := r.Factor*float64(length)/float64(c.ContextLength) - (r.Factor - 1)
		theta *= math.Pow(stretch, float64(dim)/float64(dim-2))
	}
	freq := make([]float32, dim/2)
	for i := range freq {
		exponent := float32(2*i) / float32(dim)
		freq[i] = 1 / float32(math.Pow(float64(float32(theta)), float64(exponent)))
	}
	switch r.Type {
	case "linear":
		for i := range freq {
			freq[i] /= float32(r.Factor)
		}
	case "llama3":
		for i, f := range freq {
			freq[i] = r.llama3(f)
		}
	case "yarn":
		r.yarn(freq, dim)
	case "longrope":
		factors := r.ShortFactor
		if length > r.OriginalContext {
			factors = r.LongFactor
		}
		for i, factor := range factors {
			exponent := float32(2*i) / float32(dim)
			freq[i] = 1 / (float32(factor) * float32(math.Pow(float64(float32(theta)), float64(exponent))))
		}
	}
	return freq
}

// llama3 stretches low frequencies by Factor, keeps high ones, and blends between (transformers' _compute_llama3_parameters).
func (r *RoPE) llama3(freq float32) float32 {
	wavelength := float32(2*math.Pi) / freq
	context := float64(r.OriginalContext)
	switch {
	case wavelength < float32(context/r.HighFreqFactor):
		return freq
	case wavelength > float32(context/r.LowFreqFactor):
		return freq / float32(r.Factor)
	}
	smooth := (float32(context)/wavelength - float32(r.LowFreqFactor)) / float32(r.HighFreqFactor-r.LowFreqFactor)
	return (1-smooth)*freq/float32(r.Factor) + smooth*freq
}

// yarn keeps frequencies that turn more than BetaFast times within the original context, stretches those that turn less
// than BetaSlow times, and blends between along a ramp over the dimensions (transformers' _compute_yarn_parameters).
func (r *RoPE) yarn(freq []float32, dim int) {
	turning := func(turns float64) float64 { // the dimension that turns so often
		return float64(dim) * math.Log(float64(r.OriginalContext)/(turns*2*math.Pi)) / (2 * math.Log(r.Theta))
	}
	low, high := turning(r.BetaFast), turning(r.BetaSlow)
	if !r.NoTruncate {
		low, high = math.Floor(low), math.Ceil(high)
	}
	if low, high = max(low, 0), min(high, float64(dim-1)); low == high {
		high += 0.001
	}
	for i := range freq {
		ramp := min(max((float32(i)-float32(low))/float32(high-low), 0), 1)
		keep := 1 - ramp
		power := float32(math.Pow(float64(float32(r.Theta)), float64(float32(2*i)/float32(dim))))
		freq[i] = 1/(float32(r.Factor)*power)*(1-keep) + 1/power*keep
	}
}

// appendAngles appends the cosines and sines of a position, computed from the float32 products position·inv_freq.
func (r *RoPE) appendAngles(cos, sin []float32, position int, freq []float32) (c, s []float32) {
	scale := float32(1)
	if r.AttentionFactor != 0 {
		scale = float32(r.AttentionFactor)
	}
	for _, f := range freq {
		y, x := math.Sincos(float64(float32(position) * f))
		cos, sin = append(cos, float32(x)*scale), append(sin, float32(y)*scale)
	}
	return cos, sin
}

// tables are the angles of positions 0 … rows-1, each [rows, rotary/2], of a sequence that is no longer than the context.
func (r *RoPE) tables(c *Config, rows int) (cos, sin []float32) {
	freq := r.inverseFrequencies(c, 0)
	for p := range rows {
		cos, sin = r.appendAngles(cos, sin, p, freq)
	}
	return cos, sin
}

// batchTables are the angles of each token of a batch, where they depend on the length of its sequence [n, rotary/2].
func (r *RoPE) batchTables(c *Config, positions, lengths []int32) (cos, sin []float32) {
	var freq []float32
	for i, p := range positions {
		if i == 0 || lengths[i] != lengths[i-1] {
			freq = r.inverseFrequencies(c, int(lengths[i]))
		}
		cos, sin = r.appendAngles(cos, sin, int(p), freq)
	}
	return cos, sin
}

// ropes are the configurations in use: of full attention, and of blocks with a window where they have another.
func (c *Config) ropes() []*RoPE {
	switch {
	case c.Alibi:
		return nil
	case c.LocalRoPE != nil:
		return []*RoPE{&c.RoPE, c.LocalRoPE}
	}
	return []*RoPE{&c.RoPE}
}

// ropeOf is the number of a block's rotary embedding among ropes.
func (c *Config) ropeOf(layer int) int {
	if c.LocalRoPE != nil && c.sliding(layer) {
		return 1
	}
	return 0
}

// longest is how many tokens a sequence can have: the context, which dynamic rotations stretch.
func (c *Config) longest() int {
	if c.RoPE.Type == "dynamic" && !c.Alibi {
		return int(float64(c.ContextLength) * c.RoPE.Factor)
	}
	return c.ContextLength
}

// switches says whether a sequence that grows from so many tokens to so many more takes other angles for those that it has.
// Longrope does once, and its cached keys are then computed again, as Phi-3's class does in transformers. Dynamic rotations
// change with every token beyond the context; there transformers keeps the keys as they were turned, and so do we: what is
// generated there depends on the cache, in both.
func (c *Config) switches(from, to int) bool {
	original := c.RoPE.OriginalContext
	return c.RoPE.Type == "longrope" && !c.Alibi && from <= original && to > original
}

// turnsAlike says whether sequences of so many tokens have the same angles for those that they have in common, as a cache holds them.
func (c *Config) turnsAlike(a, b int) bool {
	if c.RoPE.Type == "dynamic" && !c.Alibi && max(a, b) > c.ContextLength {
		return false
	}
	return !c.switches(min(a, b), max(a, b))
}

// ensureRotary makes the tables long enough for positions below n.
func (b *base) ensureRotary(n int) error {
	for i, r := range b.cfg.ropes() {
		if n <= b.rope[i].rows || r.byLength() {
			continue
		}
		rows := max(n, 2*b.rope[i].rows, 64)
		cos, sin := r.tables(&b.cfg, rows)
		c, err := compute.From(b.dev, cos)
		if err != nil {
			return fmt.Errorf("make rotary tables for %d positions: %w", rows, err)
		}
		s, err := compute.From(b.dev, sin)
		if err != nil {
			c.Free()
			return fmt.Errorf("make rotary tables for %d positions: %w", rows, err)
		}
		b.rope[i].free()
		b.rope[i] = rotary{cos: c, sin: s, rows: rows}
	}
	return nil
}

func (r *rotary) free() {
	if r.cos != nil {
		r.cos.Free()
		r.sin.Free()
	}
	*r = rotary{}
}

// alibiSlopes are transformers' build_alibi_tensor's, one for each head, rounded to bfloat16 as it does.
func alibiSlopes(heads int) []float32 {
	power := 1 << int(math.Floor(math.Log2(float64(heads))))
	slopes := make([]float32, 0, heads)
	for h := range heads {
		of, exponent := power, h+1
		if h >= power { // the odd powers of the next size
			of, exponent = 2*power, 2*(h-power)+1
		}
		base := float32(math.Pow(2, -math.Pow(2, -(math.Log2(float64(of))-3))))
		slopes = append(slopes, roundBF16(float32(math.Pow(float64(base), float64(exponent)))))
	}
	return slopes
}

// roundBF16 is the nearest bfloat16, ties to even.
func roundBF16(x float32) float32 {
	bits := math.Float32bits(x)
	return math.Float32frombits((bits + 0x7fff + bits>>16&1) &^ 0xffff)
}

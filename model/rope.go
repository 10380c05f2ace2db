package model

import (
	"fmt"
	"math"

	"lathe/compute"
)

// rotary holds the cosines and sines of positions 0 … rows-1.
type rotary struct {
	cos, sin compute.Buffer // [rows, D/2]
	rows     int
}

// inverseFrequencies are transformers' inv_freq [D/2], with its float32 roundings: 1/θ^(2i/D), scaled as the config says.
func (c *Config) inverseFrequencies() []float32 {
	half := c.HeadDim / 2
	freq := make([]float32, half)
	for i := range freq {
		exponent := float32(2*i) / float32(c.HeadDim)
		freq[i] = 1 / float32(math.Pow(float64(float32(c.RoPE.Theta)), float64(exponent)))
	}
	switch c.RoPE.Type {
	case "linear":
		for i := range freq {
			freq[i] /= float32(c.RoPE.Factor)
		}
	case "llama3":
		for i, f := range freq {
			freq[i] = c.RoPE.llama3(f)
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

// rotaryTables computes cosines and sines of the float32 products position·inv_freq, each [rows, D/2].
func (c *Config) rotaryTables(rows int) (cos, sin []float32) {
	freq := c.inverseFrequencies()
	cos = make([]float32, 0, rows*len(freq))
	sin = make([]float32, 0, rows*len(freq))
	for p := range rows {
		for _, f := range freq {
			s, c := math.Sincos(float64(float32(p) * f))
			cos, sin = append(cos, float32(c)), append(sin, float32(s))
		}
	}
	return cos, sin
}

// ensureRotary makes the tables long enough for positions below n.
func (b *base) ensureRotary(n int) error {
	if n <= b.rope.rows {
		return nil
	}
	rows := max(n, 2*b.rope.rows, 64)
	cos, sin := b.cfg.rotaryTables(rows)
	c, err := compute.From(b.dev, cos)
	if err != nil {
		return fmt.Errorf("make rotary tables for %d positions: %w", rows, err)
	}
	s, err := compute.From(b.dev, sin)
	if err != nil {
		c.Free()
		return fmt.Errorf("make rotary tables for %d positions: %w", rows, err)
	}
	b.rope.free()
	b.rope = rotary{cos: c, sin: s, rows: rows}
	return nil
}

func (r *rotary) free() {
	if r.cos != nil {
		r.cos.Free()
		r.sin.Free()
	}
	*r = rotary{}
}

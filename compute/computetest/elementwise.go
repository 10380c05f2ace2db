package computetest

import (
	"fmt"
	"math"

	"lathe/compute"
)

var acts = []struct {
	name string
	act  compute.Act
	f    func(float64) float64
}{
	{"SiLU", compute.SiLU, func(x float64) float64 { return x / (1 + math.Exp(-x)) }},
	{"GELU", compute.GELU, func(x float64) float64 { return x / 2 * (1 + math.Erf(x/math.Sqrt2)) }},
	{"GELUTanh", compute.GELUTanh, func(x float64) float64 {
		return x / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
	}},
	{"ReLU", compute.ReLU, func(x float64) float64 { return max(x, 0) }},
	{"Tanh", compute.Tanh, math.Tanh},
	{"LeakyReLU", compute.LeakyReLU, func(x float64) float64 { return max(x, 0.01*x) }},
}

// kinks are the slopes below zero of those that are not smooth there.
var kinks = map[compute.Act]float64{compute.ReLU: 0, compute.LeakyReLU: 0.01}

// activations: plain and gated, over several magnitudes and in the far tails, where nothing may become NaN.
func activations(b *bench) {
	for _, a := range acts {
		b.sub(a.name, func(b *bench) {
			for _, n := range []int{1, 63, 65, 40000} {
				gate := append(b.uniform(n-n/2, -12, 12), b.uniform(n/2, -0.5, 0.5)...)
				if n > 100 {
					copy(gate, []float64{-1e4, 1e4, -200, 200, -90, 90, -104, 104})
				}
				up, dy := b.normal(n), b.normal(n)
				value, slopes := make([]float64, n), make([]float64, n)
				for i, x := range gate {
					value[i] = a.f(x)
					slopes[i] = slope(func(x []float64) float64 { return a.f(x[0]) }, []float64{x})[0]
					if below, kinked := kinks[a.act]; kinked && math.Abs(x) < 0.01 { // differences straddle the kink
						slopes[i] = map[bool]float64{true: 1, false: below}[x > 0]
					}
				}
				b.activation(a.act, gate, dy, value, slopes)
				b.gated(a.act, gate, up, dy, value, slopes)
			}
		})
	}
}

// closeToOne: an activation rounds numbers of size one or more on the way, however small its result is.
func (b *bench) closeToOne(name string, got compute.Buffer, want []float64, tol float64) {
	b.Helper()
	b.closeScaled(name, b.get(got), want, tol, max(1, rms(want)))
}

func (b *bench) activation(act compute.Act, x, dy, value, slopes []float64) {
	tol := b.tol.Elementwise
	X, Y, DX := b.put(x), b.garbage(len(x)), b.garbage(len(x))
	b.Activation(compute.Activation{Y: Y, X: X, Act: act})
	b.closeToOne("Y", Y, value, tol)
	want := times(dy, slopes)
	DY := b.put(dy)
	b.ActivationBackward(compute.ActivationBackward{DX: DX, DY: DY, X: X, Act: act})
	b.closeToOne("DX", DX, want, tol)
	b.ActivationBackward(compute.ActivationBackward{DX: DY, DY: DY, X: X, Act: act})
	b.closeToOne("DX over DY", DY, want, tol)
	b.Activation(compute.Activation{Y: X, X: X, Act: act})
	b.closeToOne("Y over X", X, value, tol)
}

func (b *bench) gated(act compute.Act, gate, up, dy, value, slopes []float64) {
	tol, n := b.tol.Elementwise, len(gate)
	G, U, Y := b.put(gate), b.put(up), b.garbage(n)
	b.GatedActivation(compute.GatedActivation{Y: Y, Gate: G, Up: U, Act: act})
	b.closeToOne("gated Y", Y, times(value, up), tol)
	back := compute.GatedActivationBackward{DGate: b.garbage(n), DUp: b.garbage(n), DY: b.put(dy), Gate: G, Up: U, Act: act}
	b.GatedActivationBackward(back)
	b.closeToOne("DGate", back.DGate, times(times(dy, up), slopes), tol)
	b.closeToOne("DUp", back.DUp, times(dy, value), tol)
	back.DGate, back.DUp = back.DY, b.garbage(n)
	b.GatedActivationBackward(back)
	b.closeToOne("DGate over DY", back.DGate, times(times(dy, up), slopes), tol)
	b.closeToOne("DUp beside it", back.DUp, times(dy, value), tol)
	overUp := b.put(up)
	b.GatedActivation(compute.GatedActivation{Y: overUp, Gate: G, Up: overUp, Act: act})
	b.closeToOne("gated Y over Up", overUp, times(value, up), tol)
	b.GatedActivation(compute.GatedActivation{Y: G, Gate: G, Up: U, Act: act})
	b.closeToOne("gated Y over Gate", G, times(value, up), tol)
}

func times(x, y []float64) []float64 {
	z := make([]float64, len(x))
	for i := range x {
		z[i] = x[i] * y[i]
	}
	return z
}

func additions(b *bench) {
	for _, n := range []int{1, 63, 65, 40000} {
		b.sub(fmt.Sprint(n), func(b *bench) {
			x, y := b.normal(n), b.normal(n)
			X, Y, Z := b.put(x), b.put(y), b.garbage(n)
			want := plus(x, -1.5, y)
			b.Add(compute.Add{Y: Z, A: X, B: Y, Scale: -1.5})
			b.close("Y", Z, want, b.tol.Elementwise)
			b.Add(compute.Add{Y: Y, A: X, B: Y, Scale: -1.5})
			b.close("Y over B", Y, want, b.tol.Elementwise)
			b.Add(compute.Add{Y: X, A: X, B: b.put(y), Scale: -1.5})
			b.close("Y over A", X, want, b.tol.Elementwise)
		})
	}
}

// philox is Philox-4x32-10 (Salmon et al. 2011), written from the paper.
func philox(counter [4]uint32, key [2]uint32) [4]uint32 {
	for range 10 {
		p, q := uint64(0xD2511F53)*uint64(counter[0]), uint64(0xCD9E8D57)*uint64(counter[2])
		counter = [4]uint32{uint32(q>>32) ^ counter[1] ^ key[0], uint32(q), uint32(p>>32) ^ counter[3] ^ key[1], uint32(p)}
		key[0] += 0x9E3779B9
		key[1] += 0xBB67AE85
	}
	return counter
}

func draw(seed, stream uint64, i int) uint32 {
	block := uint64(i / 4)
	return philox([4]uint32{uint32(block), uint32(block >> 32), uint32(stream), uint32(stream >> 32)},
		[2]uint32{uint32(seed), uint32(seed >> 32)})[i%4]
}

// dropouts: the mask is Philox's, element by element; Random123's own test vectors; the backward pass draws the same mask.
func dropouts(b *bench) {
	b.sub("Random123 vectors", randomVectors)
	for _, p := range []float32{0, 0.05, 0.1, 0.5, 1e-3, 1} {
		b.sub(fmt.Sprintf("p %g", p), func(b *bench) {
			const n, scale, seed, stream = 40001, 0.75, 0x9876543210abcdef, 0x1122334455667788
			x, old := b.uniform(n, 1, 2), b.normal(n)
			want, kept := make([]float64, n), 0
			for i := range x {
				if float64(draw(seed, stream, i)) >= float64(p)*(1<<32) {
					want[i] = x[i] * scale / (1 - float64(p))
					kept++
				}
			}
			if mean, sd := n*(1-float64(p)), math.Sqrt(n*float64(p)*(1-float64(p))); math.Abs(float64(kept)-mean) > 4*sd {
				b.Errorf("%d of %d elements kept, expected %.0f ± %.0f", kept, n, mean, sd)
			}
			X, Y := b.put(x), b.garbage(n)
			args := compute.Dropout{Y: Y, X: X, P: p, Scale: scale, Seed: seed, Stream: stream}
			b.Dropout(args)
			b.close("Y", Y, want, b.tol.Elementwise)
			for i, y := range b.get(Y) {
				if (y == 0) != (want[i] == 0) {
					b.Fatalf("element %d: kept %v, Philox says %v", i, y != 0, want[i] != 0)
				}
			}
			args.Y, args.Accumulate = b.put(old), true
			b.Dropout(args)
			b.close("accumulated Y", args.Y, plus(old, 1, want), b.tol.Elementwise)
			// a view from element 0 draws the same, another stream or seed does not
			args.Y, args.X, args.Accumulate = b.garbage(100), X.Slice(0, 100), false
			b.Dropout(args)
			b.close("a shorter Y", args.Y, want[:100], b.tol.Elementwise)
		})
	}
}

// randomVectors reads the draws of the first four elements out of the device by bisection on P (24 bits of them), and
// compares them with the known answers that Random123 ships (kat_vectors, philox4x32-10).
func randomVectors(b *bench) {
	for _, v := range []struct {
		counter [4]uint32
		key     [2]uint32
		want    [4]uint32
	}{
		{[4]uint32{}, [2]uint32{}, [4]uint32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
		{
			[4]uint32{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
			[2]uint32{0xffffffff, 0xffffffff},
			[4]uint32{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
		},
		{
			[4]uint32{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
			[2]uint32{0xa4093822, 0x299f31d0},
			[4]uint32{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1},
		},
	} {
		if got := philox(v.counter, v.key); got != v.want {
			b.Fatalf("the suite's own Philox gives %08x, want %08x", got, v.want)
		}
	}
	x, y := b.put([]float64{1, 1, 1, 1}), b.zeros(4)
	want := philox([4]uint32{}, [2]uint32{})
	for i := range 4 {
		var found uint32
		for bit := uint32(1 << 23); bit > 0; bit >>= 1 {
			try := found | bit
			b.Dropout(compute.Dropout{Y: y, X: x, P: float32(try) / (1 << 24), Scale: 1})
			if b.get(y)[i] != 0 { // kept: the draw is at least try
				found = try
			}
		}
		if found != want[i]>>8 {
			b.Errorf("draw %d of counter 0 and key 0 is %06x…, want %08x", i, found, want[i])
		}
	}
}

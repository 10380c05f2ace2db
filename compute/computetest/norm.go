package computetest

import (
	"fmt"
	"math"
	"slices"

	"lathe/compute"
)

var widths = []int{1, 63, 65, 640}

func rmsNorm(x, w []float64, eps, offset float64) (y []float64, rstd float64) {
	rstd = 1 / math.Sqrt(dot(x, x)/float64(len(x))+eps)
	y = make([]float64, len(x))
	for i := range x {
		y[i] = x[i] * rstd * (w[i] + offset)
	}
	return y, rstd
}

// manyRows is more than a block of rows that gradients of weights are summed in, of the width of a head: q_norm and k_norm.
const manyRows, headWidth = 300, 20

func rowsOf(c int) int {
	if c == headWidth {
		return manyRows
	}
	return 5
}

// rmsNorms: forward against the formula, backward against differences of it.
func rmsNorms(b *bench) {
	const eps = 1e-5
	for _, c := range append(widths, headWidth, 256) {
		n := rowsOf(c)
		for _, offset := range []float64{0, 1} {
			b.sub(fmt.Sprintf("%dx%d/%g", n, c, offset), func(b *bench) {
				x, w, dy, old, oldW := b.normal(n*c), b.normal(c), b.normal(n*c), b.normal(n*c), b.normal(c)
				want, rstds := make([]float64, 0, n*c), make([]float64, n)
				dx, dw := make([]float64, 0, n*c), append([]float64(nil), oldW...)
				for i := range n {
					row, g := x[i*c:(i+1)*c], dy[i*c:(i+1)*c]
					y, r := rmsNorm(row, w, eps, offset)
					want, rstds[i] = append(want, y...), r
					dx = append(dx, slope(func(x []float64) float64 { y, _ := rmsNorm(x, w, eps, offset); return dot(y, g) }, row)...)
					dw = plus(dw, 1, slope(func(w []float64) float64 { y, _ := rmsNorm(row, w, eps, offset); return dot(y, g) }, w))
				}
				X, W, Y, R := b.put(x), b.put(w), b.garbage(n*c), b.garbage(n)
				forward := compute.RMSNorm{Y: Y, X: X, RStd: R, W: W, N: n, C: c, Eps: eps, Offset: float32(offset)}
				b.RMSNorm(forward)
				b.close("Y", Y, want, b.tol.Reduction)
				b.close("RStd", R, rstds, b.tol.Reduction)
				forward.Y, forward.RStd = b.garbage(n*c), nil
				b.RMSNorm(forward)
				b.close("Y without RStd", forward.Y, want, b.tol.Reduction)

				back := compute.RMSNormBackward{DX: b.garbage(n * c), DY: b.put(dy), X: X, RStd: R, W: W, DW: b.put(oldW), N: n, C: c, Offset: float32(offset)}
				b.RMSNormBackward(back)
				// in a short row the two terms of DX cancel (in a row of one element wholly): their size is that of dy·w·rstd
				terms := rms(dy) * (rms(w) + offset) * slices.Max(rstds)
				b.closeScaled("DX", b.get(back.DX), dx, b.tol.Reduction, terms)
				b.close("DW", back.DW, dw, b.tol.Reduction)
				back.DX, back.DW, back.Accumulate = b.put(old), nil, true
				b.RMSNormBackward(back)
				b.close("accumulated DX", back.DX, plus(old, 1, dx), b.tol.Reduction)
				back.DX, back.DW, back.Accumulate = back.DY, b.put(oldW), false
				b.RMSNormBackward(back)
				b.closeScaled("DX over DY", b.get(back.DX), dx, b.tol.Reduction, terms)
				b.close("DW beside DX over DY", back.DW, dw, b.tol.Reduction)
			})
		}
	}
}

func layerNorm(x, w, bias []float64, eps float64) (y []float64, mean, rstd float64) {
	n := float64(len(x))
	for _, v := range x {
		mean += v / n
	}
	for _, v := range x {
		rstd += (v - mean) * (v - mean) / n
	}
	rstd = 1 / math.Sqrt(rstd+eps)
	y = make([]float64, len(x))
	for i := range x {
		y[i] = (x[i]-mean)*rstd*w[i] + bias[i]
	}
	return y, mean, rstd
}

func layerNorms(b *bench) {
	const eps = 1e-5
	for _, c := range append(widths, headWidth) {
		n := rowsOf(c)
		b.sub(fmt.Sprintf("%dx%d", n, c), func(b *bench) {
			x, w, bias := plus(b.normal(n*c), 1, b.uniform(n*c, 2, 3)), b.normal(c), b.normal(c)
			x = doubles(singles(x))
			dy, old, oldW, oldB := b.normal(n*c), b.normal(n*c), b.normal(c), b.normal(c)
			want, dx := make([]float64, 0, n*c), make([]float64, 0, n*c)
			dw, db := append([]float64(nil), oldW...), append([]float64(nil), oldB...)
			means, rstds := make([]float64, n), make([]float64, n)
			for i := range n {
				row, g := x[i*c:(i+1)*c], dy[i*c:(i+1)*c]
				y, m, r := layerNorm(row, w, bias, eps)
				want, means[i], rstds[i] = append(want, y...), m, r
				dx = append(dx, slope(func(x []float64) float64 { y, _, _ := layerNorm(x, w, bias, eps); return dot(y, g) }, row)...)
				dw = plus(dw, 1, slope(func(w []float64) float64 { y, _, _ := layerNorm(row, w, bias, eps); return dot(y, g) }, w))
				db = plus(db, 1, g)
			}
			if c == 1 { // one element is its own mean: no gradient, and an x̂ of rounding errors times 1/√eps
				b.oneElement(n, x, bias)
				return
			}
			X, W, Y, M, R := b.put(x), b.put(w), b.garbage(n*c), b.garbage(n), b.garbage(n)
			forward := compute.LayerNorm{Y: Y, X: X, Mean: M, RStd: R, W: W, Bias: b.put(bias), N: n, C: c, Eps: eps}
			b.LayerNorm(forward)
			b.close("Y", Y, want, b.tol.Reduction)
			b.close("Mean", M, means, b.tol.Reduction)
			b.close("RStd", R, rstds, b.tol.Reduction)
			forward.Y, forward.Mean, forward.RStd, forward.Bias = b.garbage(n*c), nil, nil, nil
			b.LayerNorm(forward)
			for i := range n {
				want = append(want[:i*c], append(plus(want[i*c:(i+1)*c], -1, bias), want[(i+1)*c:]...)...)
			}
			b.close("Y without Bias", forward.Y, want, b.tol.Reduction)

			back := compute.LayerNormBackward{
				DX: b.garbage(n * c), DY: b.put(dy), X: X, Mean: M, RStd: R, W: W, DW: b.put(oldW), DBias: b.put(oldB), N: n, C: c,
			}
			b.LayerNormBackward(back)
			b.close("DX", back.DX, dx, b.tol.Reduction)
			b.close("DW", back.DW, dw, b.tol.Reduction)
			b.close("DBias", back.DBias, db, b.tol.Reduction)
			back.DX, back.DW, back.DBias, back.Accumulate = b.put(old), nil, b.put(oldB), true
			b.LayerNormBackward(back)
			b.close("accumulated DX", back.DX, plus(old, 1, dx), b.tol.Reduction)
			b.close("DBias alone", back.DBias, db, b.tol.Reduction)
			back.DX, back.DW, back.DBias, back.Accumulate = back.DY, b.put(oldW), nil, false
			b.LayerNormBackward(back)
			b.close("DX over DY", back.DX, dx, b.tol.Reduction)
			b.close("DW alone", back.DW, dw, b.tol.Reduction)
		})
	}
}

func (b *bench) oneElement(n int, x, bias []float64) {
	y := b.garbage(n)
	b.LayerNorm(compute.LayerNorm{Y: y, X: b.put(x), W: b.put([]float64{3}), Bias: b.put(bias), N: n, C: 1, Eps: 1e-5})
	want := make([]float64, n)
	for i := range want {
		want[i] = bias[0]
	}
	b.close("Y of one element", y, want, b.tol.Elementwise)
}

// ropes: both conventions, whole and partial heads; Inverse is the transpose, which is the backward pass.
func ropes(b *bench) {
	const n, h, positions = 7, 3, 40
	for _, c := range []struct{ d, rotary int }{{2, 2}, {10, 6}, {64, 16}, {64, 64}, {80, 20}, {96, 96}, {130, 66}, {256, 256}} {
		for _, interleaved := range []bool{false, true} {
			b.sub(fmt.Sprintf("%d of %d/interleaved %v", c.rotary, c.d, interleaved), func(b *bench) {
				half := c.rotary / 2
				cos, sin := make([]float64, positions*half), make([]float64, positions*half)
				for p := range positions {
					for i := range half {
						angle := float64(p) * math.Pow(10000, -float64(2*i)/float64(c.rotary))
						cos[p*half+i], sin[p*half+i] = float64(float32(math.Cos(angle))), float64(float32(math.Sin(angle)))
					}
				}
				at := make([]int32, n)
				for i := range at {
					at[i] = int32(b.rng.IntN(positions))
				}
				x := b.normal(n * h * c.d)
				want := append([]float64(nil), x...)
				for r := range n * h {
					p := int(at[r/h]) * half
					for i := range half {
						u, v := r*c.d+i, r*c.d+i+half
						if interleaved {
							u, v = r*c.d+2*i, r*c.d+2*i+1
						}
						want[u] = x[u]*cos[p+i] - x[v]*sin[p+i]
						want[v] = x[v]*cos[p+i] + x[u]*sin[p+i]
					}
				}
				X := b.put(x)
				args := compute.RoPE{
					X: X, Cos: b.put(cos), Sin: b.put(sin), Positions: b.ints(at), N: n, H: h, D: c.d, Rotary: c.rotary, Interleaved: interleaved,
				}
				b.RoPE(args)
				b.close("rotated", X, want, b.tol.Elementwise)
				args.Inverse = true
				b.RoPE(args)
				b.close("turned back", X, x, b.tol.Elementwise)
				args.Positions = b.ints([]int32{0, 1, 2, positions, 4, 5, 6})
				b.RoPE(args)
				if err := b.Sync(); err == nil {
					b.Error("a position beyond the table was accepted")
				}
			})
		}
	}
}

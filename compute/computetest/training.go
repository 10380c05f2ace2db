package computetest

import (
	"fmt"
	"math"

	"lathe/compute"
)

type lossCase struct {
	n, c, v  int
	bias     bool
	softcap  float64
	ignored  func(i int) bool
	weight   string
	logitMul float64
}

// crossEntropies: log-probabilities within what torch's own kernels differ by, and gradients of X, W and bias.
func crossEntropies(b *bench) {
	none, some, all := func(int) bool { return false }, func(i int) bool { return i%3 == 1 }, func(int) bool { return true }
	for name, c := range map[string]lossCase{
		"one":            {n: 1, c: 1, v: 1, ignored: none},
		"small":          {n: 5, c: 7, v: 11, ignored: some, bias: true},
		"softcap":        {n: 9, c: 16, v: 63, ignored: some, softcap: 3, bias: true},
		"all ignored":    {n: 9, c: 16, v: 65, ignored: all, bias: true},
		"several chunks": {n: 1100, c: 8, v: 65, ignored: none},
		"many words":     {n: 3, c: 24, v: 40001, ignored: some},
		"large logits":   {n: 7, c: 32, v: 300, ignored: none, logitMul: 30},
		"both":           {n: 9, c: 16, v: 5003, ignored: none, logitMul: 30}, // the highest score rises along the row
		"cap and both":   {n: 9, c: 16, v: 5003, ignored: none, logitMul: 30, softcap: 20, bias: true},
		"bfloat16 head":  {n: 20, c: 65, v: 130, ignored: some, weight: "bfloat16"},
		"nf4 head":       {n: 20, c: 64, v: 130, ignored: some, weight: "nf4 double"},
	} {
		b.sub(name, func(b *bench) { b.crossEntropy(c) })
	}
}

// reference returns log-probabilities and the gradients of Σ -ln p times scale.
func (c lossCase) reference(x, w, bias []float64, labels []int32, scale float64) (logprobs, dx, dw, db []float64) {
	logprobs, dx = make([]float64, c.n), make([]float64, len(x))
	dw, db = make([]float64, len(w)), make([]float64, c.v)
	for i, label := range labels {
		if label < 0 {
			continue
		}
		row, p, slopes := x[i*c.c:(i+1)*c.c], make([]float64, c.v), make([]float64, c.v)
		for j := range p {
			p[j], slopes[j] = bias[j]+dot(row, w[j*c.c:(j+1)*c.c]), 1
			if c.softcap > 0 {
				t := math.Tanh(p[j] / c.softcap)
				p[j], slopes[j] = c.softcap*t, 1-t*t
			}
		}
		logit := p[label]
		logprobs[i] = logit - softmax(p)
		p[label]--
		for j, g := range p {
			g *= slopes[j] * scale
			db[j] += g
			for k := range row {
				dx[i*c.c+k] += g * w[j*c.c+k]
				dw[j*c.c+k] += g * row[k]
			}
		}
	}
	return logprobs, dx, dw, db
}

func (b *bench) crossEntropy(c lossCase) {
	const scale = 0.125
	if c.weight == "" {
		c.weight = "float32"
	}
	W, w := b.weight(c.weight, c.v, c.c)
	x, bias, labels := b.uniform(c.n*c.c, -1, 1), make([]float64, c.v), make([]int32, c.n)
	// scores of order one, whose rounding errors are then within the tolerance, which is absolute
	mul := 1 / math.Sqrt(float64(c.c))
	if c.logitMul > 0 {
		mul *= c.logitMul
	}
	for i := range x {
		x[i] = float64(float32(x[i] * mul))
	}
	if c.bias {
		bias = b.normal(c.v)
	}
	for i := range labels {
		if labels[i] = int32(b.rng.IntN(c.v)); c.ignored(i) {
			labels[i] = -100
		}
	}
	logprobs, dx, dw, db := c.reference(x, w, bias, labels, scale)
	oldW, oldB := b.normal(c.v*c.c), b.normal(c.v)
	args := compute.LinearCrossEntropy{
		X: b.put(x), W: W, Labels: b.ints(labels), N: c.n, Softcap: float32(c.softcap), LogProbs: b.garbage(c.n), GradScale: scale,
	}
	if c.bias {
		args.Bias = b.put(bias)
	}
	b.LinearCrossEntropy(args)
	b.logProbs(c, args.LogProbs, logprobs)
	args.LogProbs, args.DX = b.garbage(c.n), b.garbage(c.n*c.c)
	if c.weight == "float32" {
		args.DW, args.DBias = b.put(oldW), b.put(oldB)
	}
	b.LinearCrossEntropy(args)
	b.logProbs(c, args.LogProbs, logprobs)
	// the gradient of a probability inherits the score's absolute error as a relative one
	tol := b.tol.Attention * max(1, c.logitMul)
	b.close("DX", args.DX, dx, tol)
	if args.DW != nil {
		b.close("DW", args.DW, plus(oldW, 1, dw), tol)
		b.close("DBias", args.DBias, plus(oldB, 1, db), tol)
	}
}

func (b *bench) logProbs(c lossCase, got compute.Buffer, want []float64) {
	b.Helper()
	for i, g := range b.get(got) {
		// float32 scores of size s carry an error of s·2⁻²³ whatever follows: the tolerance grows with them
		if !(math.Abs(g-want[i]) <= b.tol.LogProb*max(1, c.logitMul/4)) {
			b.Fatalf("LogProbs[%d] is %v, want %v", i, g, want[i])
		}
	}
}

// adamWs: three steps against torch.optim.AdamW's order of operations in float64.
func adamWs(b *bench) {
	sizes := []int{1, 63, 65, 40000}
	args := compute.AdamW{LR: 1e-3, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, GradScale: 0.5}
	type state struct{ p, m, v []float64 }
	states := make([]state, len(sizes))
	for i, n := range sizes {
		states[i] = state{b.normal(n), make([]float64, n), make([]float64, n)}
		decay := []float64{0, 0.1}[i%2]
		args.Tensors = append(args.Tensors, compute.AdamWTensor{
			Param: b.put(states[i].p), Grad: b.zeros(n), M: b.zeros(n), V: b.zeros(n), WeightDecay: decay,
		})
	}
	for args.Step = 1; args.Step <= 3; args.Step++ {
		c1, c2 := 1-math.Pow(args.Beta1, float64(args.Step)), math.Sqrt(1-math.Pow(args.Beta2, float64(args.Step)))
		for i, t := range args.Tensors {
			g, s := b.normal(sizes[i]), states[i]
			compute.Upload(b.Device, t.Grad, singles(g))
			for j := range g {
				x := g[j] * float64(args.GradScale)
				s.p[j] *= 1 - args.LR*t.WeightDecay
				s.m[j] += (1 - args.Beta1) * (x - s.m[j])
				s.v[j] = s.v[j]*args.Beta2 + (1-args.Beta2)*x*x
				s.p[j] -= args.LR / c1 * s.m[j] / (math.Sqrt(s.v[j])/c2 + args.Eps)
			}
		}
		b.AdamW(args)
		for i, t := range args.Tensors {
			name := func(s string) string { return fmt.Sprintf("step %d, %d elements, %s", args.Step, sizes[i], s) }
			b.close(name("param"), t.Param, states[i].p, b.tol.Elementwise)
			b.close(name("m"), t.M, states[i].m, b.tol.Elementwise)
			b.close(name("v"), t.V, states[i].v, b.tol.Elementwise)
		}
	}
	b.AdamW(compute.AdamW{Step: 1}) // no tensors
}

// norms: the global norm, exact to float64 rounding, and the first number that is none.
func norms(b *bench) {
	var buffers []compute.Buffer
	sum := 0.0
	for _, n := range []int{1, 63, 0, 65, 50000} {
		x := b.normal(n)
		sum += dot(x, x)
		buffers = append(buffers, b.put(x))
	}
	// float64 sums of the same numbers in another order: 5e4 terms of 1e-16
	if got, want := b.GlobalNorm(buffers), math.Sqrt(sum); math.Abs(got-want) > 1e-12*want {
		b.Errorf("norm is %v, want %v", got, want)
	}
	if got := b.GlobalNorm(nil); got != 0 {
		b.Errorf("norm of nothing is %v", got)
	}
	big := b.put([]float64{3e30, 4e30}) // squares overflow float32
	if got := b.GlobalNorm([]compute.Buffer{big}); math.Abs(got/5e30-1) > 1e-6 {
		b.Errorf("norm of 3e30 and 4e30 is %v", got)
	}
	if i, j := b.FirstNonFinite(buffers); i != -1 || j != -1 {
		b.Errorf("finite buffers have a non-finite element %d of %d", j, i)
	}
	for _, c := range []struct {
		buffer, index int
		value         float64
	}{{4, 49999, math.NaN()}, {4, 16384, math.Inf(1)}, {4, 16383, math.Inf(-1)}, {3, 64, math.NaN()}, {0, 0, math.Inf(1)}} {
		compute.Upload(b.Device, buffers[c.buffer].Slice(c.index, 1), []float32{float32(c.value)})
		if i, j := b.FirstNonFinite(buffers); i != c.buffer || j != c.index {
			b.Errorf("first non-finite is element %d of buffer %d, want %d of %d", j, i, c.index, c.buffer)
		}
	}
	large := b.zeros(3 << 20) // many tasks: the first one counts, not the first found
	for _, i := range []int{3<<20 - 1, 2 << 20, 1<<20 + 7} {
		compute.Upload(b.Device, large.Slice(i, 1), []float32{float32(math.NaN())})
		if at, j := b.FirstNonFinite([]compute.Buffer{buffers[1], large}); at != 1 || j != i {
			b.Errorf("first non-finite is element %d of buffer %d, want %d of 1", j, at, i)
		}
	}
	if got := b.GlobalNorm(buffers); got-got == 0 {
		b.Errorf("norm of NaN and infinity is %v", got)
	}
}

// adamW8s: two steps over tensors of several sizes; parameters follow the float64 formula over the decoded moments, codes are
// as near as the next one allows, and a block of zeros stays zero.
func adamW8s(b *bench) {
	signed, unsigned := compute.DynamicMap(), compute.DynamicMapUnsigned()
	args := compute.AdamW8{
		Signed: b.put(doubles(signed[:])), Unsigned: b.put(doubles(unsigned[:])),
		LR: 1e-2, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, GradScale: 0.5,
	}
	sizes := []int{1, 255, 257, 40000}
	params := make([][]float64, len(sizes))
	for i, n := range sizes {
		params[i] = b.normal(n)
		blocks := (n + compute.AdamW8Block - 1) / compute.AdamW8Block
		args.Tensors = append(args.Tensors, compute.AdamW8Tensor{
			Param: b.put(params[i]), Grad: b.zeros(n), M: b.alloc(compute.U8, n), V: b.alloc(compute.U8, n),
			MAbsmax: b.zeros(blocks), VAbsmax: b.zeros(blocks), WeightDecay: []float64{0, 0.1}[i%2],
		})
	}
	for args.Step = 1; args.Step <= 2; args.Step++ {
		c1, c2 := 1-math.Pow(args.Beta1, float64(args.Step)), math.Sqrt(1-math.Pow(args.Beta2, float64(args.Step)))
		type moments struct{ m, v []float64 }
		want := make([]moments, len(sizes))
		for i, t := range args.Tensors {
			g := b.normal(sizes[i])
			clear(g[min(256, len(g)):min(512, len(g))])
			compute.Upload(b.Device, t.Grad, singles(g))
			want[i] = moments{b.decoded(t.M, t.MAbsmax, signed), b.decoded(t.V, t.VAbsmax, unsigned)}
			for j := range g {
				x := g[j] * float64(args.GradScale)
				m, v := &want[i].m[j], &want[i].v[j]
				*m, *v = args.Beta1**m+(1-args.Beta1)*x, args.Beta2**v+(1-args.Beta2)*x*x
				params[i][j] = params[i][j]*(1-args.LR*t.WeightDecay) - args.LR/c1**m/(math.Sqrt(*v)/c2+args.Eps)
			}
		}
		b.AdamW8(args)
		for i, t := range args.Tensors {
			name := func(s string) string { return fmt.Sprintf("step %d, %d elements, %s", args.Step, sizes[i], s) }
			b.close(name("param"), t.Param, params[i], b.tol.Elementwise)
			params[i] = b.get(t.Param)
			// neighbours of the maps lie at most 0.0141 (0.9/64) and 0.0071 (0.9/128) of the block's scale apart
			b.coded(name("m"), want[i].m, b.decoded(t.M, t.MAbsmax, signed), 0.0141/2)
			b.coded(name("v"), want[i].v, b.decoded(t.V, t.VAbsmax, unsigned), 0.0071/2)
		}
	}
	args.Step = 0
	b.AdamW8(args)
	if b.Sync() == nil {
		b.Error("step 0 was taken")
	}
}

// decoded are the numbers that codes and scales of 8-bit moments stand for.
func (b *bench) decoded(codes, absmax compute.Buffer, values [256]float32) []float64 {
	c, s := compute.Download[uint8](b.Device, codes), compute.Download[float32](b.Device, absmax)
	x := make([]float64, len(c))
	for i := range x {
		x[i] = float64(values[c[i]] * s[i/compute.AdamW8Block])
	}
	return x
}

// coded compares with what was coded in blocks: half a gap of the map, times the block's largest number, is the most that
// rounding may take away (1e-4 is for the table that finds codes).
func (b *bench) coded(name string, want, got []float64, half float64) {
	b.Helper()
	for at := 0; at < len(want); at += compute.AdamW8Block {
		end, top := min(at+compute.AdamW8Block, len(want)), 0.0
		for _, v := range want[at:end] {
			top = max(top, math.Abs(v))
		}
		for i := at; i < end; i++ {
			if !(math.Abs(got[i]-want[i]) <= (half+1e-4)*top) {
				b.Errorf("%s[%d] is %v after coding, was %v (largest of its block %v)", name, i, got[i], want[i], top)
				return
			}
		}
	}
}

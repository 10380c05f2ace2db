package main

import (
	"fmt"
	"math"

	"lathe/compute"
)

// allCases are the operations of a step, each made when its turn comes.
func allCases() []func(*lab) kernelCase {
	var list []func(*lab) kernelCase
	for _, kind := range []string{"bfloat16", "nf4"} {
		for _, proj := range []string{"q_proj", "k_proj", "gate_proj", "down_proj"} {
			list = append(list, func(l *lab) kernelCase { return l.forward(kind, proj, l.tokens) },
				func(l *lab) kernelCase { return l.backward(kind, proj) },
				func(l *lab) kernelCase { return l.adapted(kind, proj) },
				func(l *lab) kernelCase { return l.adaptedBackward(kind, proj) })
		}
	}
	for _, operands := range []compute.DType{compute.BF16, compute.F16, compute.F32} {
		list = append(list, func(l *lab) kernelCase { return l.attention(operands) }, func(l *lab) kernelCase { return l.attentionBackward(operands) })
	}
	for _, kind := range []string{"bfloat16", "nf4"} {
		for _, n := range []int{1, 8} {
			list = append(list, func(l *lab) kernelCase { return l.forward(kind, "gate_proj", n) })
		}
	}
	return append(list, (*lab).float32Product, (*lab).weightGradient, (*lab).adapterGradient, (*lab).crossEntropy,
		(*lab).rmsNorm, (*lab).rmsNormBackward, (*lab).layerNorm, (*lab).rope,
		(*lab).swiGLU, (*lab).swiGLUBackward, (*lab).add, (*lab).castNarrow, (*lab).embedding, (*lab).dropout, (*lab).quantize, (*lab).dequantize,
		(*lab).adamW, (*lab).adamW8, (*lab).globalNorm, (*lab).firstNonFinite)
}

// projection is the shape of a linear layer.
func (l *lab) projection(name string) (out, in int) {
	switch name {
	case "k_proj":
		return l.kv, l.hidden
	case "gate_proj":
		return l.inter, l.hidden
	case "down_proj":
		return l.hidden, l.inter
	}
	return l.hidden, l.hidden
}

func (l *lab) forward(kind, proj string, n int) kernelCase {
	out, in := l.projection(proj)
	w := l.weight(kind, out, in)
	a := compute.Linear{Y: l.out(n * out), X: l.random(n * in), N: n, W: w, Compute: l.products}
	return kernelCase{
		name: "Linear " + kind + " " + proj, shape: shapeText(n, out, in), flops: product(n, out, in),
		bytes: weightBytes(w) + 4*float64(n*in+n*out), run: func() { l.Linear(a) },
	}
}

// backward is the gradient of a linear layer's input.
func (l *lab) backward(kind, proj string) kernelCase {
	out, in := l.projection(proj)
	n, w := l.tokens, l.weight(kind, out, in)
	a := compute.LinearBackwardInput{DX: l.out(n * in), DY: l.random(n * out), N: n, W: w, Compute: l.products}
	return kernelCase{
		name: "LinearBackwardInput " + kind + " " + proj, shape: shapeText(n, in, out), flops: product(n, out, in),
		bytes: weightBytes(w) + 4*float64(n*in+n*out), run: func() { l.LinearBackwardInput(a) },
	}
}

const labRank = 16

// adapted is a layer with LoRA, forward: its cost over the plain product is the adapter's.
func (l *lab) adapted(kind, proj string) kernelCase {
	out, in := l.projection(proj)
	n, w, x, u := l.tokens, l.weight(kind, out, in), l.random(l.tokens*in), l.out(l.tokens*labRank)
	down := compute.Linear{Y: u, X: x, N: n, W: l.weight("float32", labRank, in), Compute: l.products}
	up := compute.Linear{Y: l.out(n * out), X: x, N: n, W: w, LowRank: &compute.LowRank{R: labRank, U: u, V: l.random(out * labRank), Scale: 2}, Compute: l.products}
	return kernelCase{
		name: "Linear " + kind + " " + proj + " with LoRA", shape: shapeText(n, out, in), flops: product(n, out, in) + product(n, out+in, labRank),
		bytes: weightBytes(w) + 4*float64(n*(out+in)+labRank*(out+in)), run: func() { l.Linear(down); l.Linear(up) },
	}
}

// adaptedBackward is the same layer's gradient of its input, with that of LoRA's inner activation.
func (l *lab) adaptedBackward(kind, proj string) kernelCase {
	out, in := l.projection(proj)
	n, w, dy, du := l.tokens, l.weight(kind, out, in), l.random(l.tokens*out), l.out(l.tokens*labRank)
	inner := compute.LinearBackwardInput{DX: du, DY: dy, N: n, W: l.weight("float32", out, labRank), Compute: l.products}
	outer := compute.LinearBackwardInput{DX: l.out(n * in), DY: dy, N: n, W: w, LowRank: &compute.LowRank{R: labRank, U: du, V: l.random(labRank * in), Scale: 2}, Compute: l.products}
	return kernelCase{
		name: "LinearBackwardInput " + kind + " " + proj + " with LoRA", shape: shapeText(n, in, out), flops: product(n, out, in) + product(n, out+in, labRank),
		bytes: weightBytes(w) + 4*float64(n*(out+in)+labRank*(out+in)), run: func() { l.LinearBackwardInput(inner); l.LinearBackwardInput(outer) },
	}
}

func (l *lab) float32Product() kernelCase {
	n, c := l.tokens, l.hidden
	a := compute.Linear{Y: l.out(n * c), X: l.random(n * c), N: n, W: l.weight("float32", c, c)}
	return kernelCase{name: "Linear float32 q_proj, float32 products", shape: shapeText(n, c, c), flops: product(n, c, c), f32: true, bytes: 4 * float64(2*n*c+c*c), run: func() { l.Linear(a) }}
}

func (l *lab) weightGradient() kernelCase {
	n, c := l.tokens, l.hidden
	a := compute.LinearBackwardWeight{DW: l.random(c * c), DY: l.random(n * c), X: l.random(n * c), N: n, Out: c, In: c, Scale: 1, Compute: l.products}
	return kernelCase{name: "LinearBackwardWeight q_proj", shape: shapeText(c, c, n), flops: product(n, c, c), bytes: 4 * float64(2*n*c+2*c*c), run: func() { l.LinearBackwardWeight(a) }}
}

func (l *lab) adapterGradient() kernelCase {
	const r = 16
	n, c := l.tokens, l.hidden
	a := compute.LinearBackwardWeight{DW: l.random(r * c), DY: l.random(n * r), X: l.random(n * c), N: n, Out: r, In: c, Scale: 1, Compute: l.products}
	return kernelCase{name: "LinearBackwardWeight lora_A r 16", shape: shapeText(r, c, n), flops: product(n, r, c), bytes: 4 * float64(n*r+n*c+2*r*c), run: func() { l.LinearBackwardWeight(a) }}
}

func (l *lab) crossEntropy() kernelCase {
	n, c, v := l.tokens, l.hidden, l.vocab
	w := l.weight("bfloat16", v, c)
	a := compute.LinearCrossEntropy{
		X: l.random(n * c), W: w, Labels: l.ints(n, v), N: n, LogProbs: l.out(n), DX: l.out(n * c), GradScale: 1 / float32(n), Compute: l.products,
	}
	return kernelCase{name: "LinearCrossEntropy with gradient", shape: shapeText(n, v, c), flops: 2 * product(n, v, c), bytes: 2*weightBytes(w) + 8*float64(n*c), run: func() { l.LinearCrossEntropy(a) }}
}

func (l *lab) attentionShape(operands compute.DType) compute.AttentionShape {
	return compute.AttentionShape{
		Spans: []compute.Span{{QLen: l.tokens, KLen: l.tokens}}, NQ: l.tokens, NK: l.tokens, H: l.heads, KV: l.kvHeads, D: l.headDim,
		Scale: float32(1 / math.Sqrt(float64(l.headDim))), Compute: operands,
	}
}

// attentionFLOPs are the forward pass' two products below the diagonal.
func (l *lab) attentionFLOPs() float64 {
	return 2 * product(l.tokens, l.tokens, l.heads*l.headDim) / 2
}

func (l *lab) attention(operands compute.DType) kernelCase {
	q, kv := l.tokens*l.heads*l.headDim, l.tokens*l.kvHeads*l.headDim
	a := compute.Attention{AttentionShape: l.attentionShape(operands), Out: l.out(q), LSE: l.out(l.tokens * l.heads), Q: l.random(q), K: l.random(kv), V: l.random(kv)}
	return kernelCase{name: fmt.Sprintf("Attention %s, causal", operands), f32: operands == compute.F32, shape: l.attentionText(), flops: l.attentionFLOPs(), bytes: 4 * float64(2*q+2*kv), run: func() { l.Attention(a) }}
}

func (l *lab) attentionText() string {
	return fmt.Sprintf("%d tokens, %d heads of %d, %d of keys", l.tokens, l.heads, l.headDim, l.kvHeads)
}

func (l *lab) attentionBackward(operands compute.DType) kernelCase {
	q, kv := l.tokens*l.heads*l.headDim, l.tokens*l.kvHeads*l.headDim
	f := compute.Attention{AttentionShape: l.attentionShape(operands), Out: l.out(q), LSE: l.out(l.tokens * l.heads), Q: l.random(q), K: l.random(kv), V: l.random(kv)}
	if l.err == nil {
		l.Attention(f)
	}
	a := compute.AttentionBackward{
		AttentionShape: f.AttentionShape, DQ: l.out(q), DK: l.out(kv), DV: l.out(kv), DOut: l.random(q), Out: f.Out, LSE: f.LSE, Q: f.Q, K: f.K, V: f.V,
	}
	return kernelCase{name: fmt.Sprintf("AttentionBackward %s, causal", operands), f32: operands == compute.F32, shape: l.attentionText(), flops: 2.5 * l.attentionFLOPs(), bytes: 4 * float64(4*q+4*kv), run: func() { l.AttentionBackward(a) }}
}

func (l *lab) rmsNorm() kernelCase {
	n, c := l.tokens, l.hidden
	a := compute.RMSNorm{Y: l.out(n * c), X: l.random(n * c), RStd: l.out(n), W: l.random(c), N: n, C: c, Eps: 1e-5}
	return kernelCase{name: "RMSNorm", shape: shapeText(n, c), bytes: 8 * float64(n*c), run: func() { l.RMSNorm(a) }}
}

func (l *lab) rmsNormBackward() kernelCase {
	n, c := l.tokens, l.hidden
	f := compute.RMSNorm{Y: l.out(n * c), X: l.random(n * c), RStd: l.out(n), W: l.random(c), N: n, C: c, Eps: 1e-5}
	if l.err == nil {
		l.RMSNorm(f)
	}
	a := compute.RMSNormBackward{DX: l.out(n * c), DY: l.random(n * c), X: f.X, RStd: f.RStd, W: f.W, N: n, C: c}
	return kernelCase{name: "RMSNormBackward", shape: shapeText(n, c), bytes: 12 * float64(n*c), run: func() { l.RMSNormBackward(a) }}
}

func (l *lab) layerNorm() kernelCase {
	n, c := l.tokens, l.hidden
	a := compute.LayerNorm{Y: l.out(n * c), X: l.random(n * c), Mean: l.out(n), RStd: l.out(n), W: l.random(c), Bias: l.random(c), N: n, C: c, Eps: 1e-5}
	return kernelCase{name: "LayerNorm", shape: shapeText(n, c), bytes: 8 * float64(n*c), run: func() { l.LayerNorm(a) }}
}

func (l *lab) rope() kernelCase {
	n, h, d := l.tokens, l.heads, l.headDim
	a := compute.RoPE{X: l.random(n * h * d), Cos: l.random(n * d / 2), Sin: l.random(n * d / 2), Positions: l.ints(n, n), N: n, H: h, D: d, Rotary: d}
	return kernelCase{name: "RoPE", shape: shapeText(n, h, d), bytes: 8 * float64(n*h*d), run: func() { l.RoPE(a) }}
}

func (l *lab) swiGLU() kernelCase {
	n := l.tokens * l.inter
	a := compute.GatedActivation{Y: l.out(n), Gate: l.random(n), Up: l.random(n), Act: compute.SiLU}
	return kernelCase{name: "SwiGLU", shape: shapeText(l.tokens, l.inter), bytes: 12 * float64(n), run: func() { l.GatedActivation(a) }}
}

func (l *lab) swiGLUBackward() kernelCase {
	n := l.tokens * l.inter
	a := compute.GatedActivationBackward{DGate: l.out(n), DUp: l.out(n), DY: l.random(n), Gate: l.random(n), Up: l.random(n), Act: compute.SiLU}
	return kernelCase{name: "SwiGLU backward", shape: shapeText(l.tokens, l.inter), bytes: 20 * float64(n), run: func() { l.GatedActivationBackward(a) }}
}

func (l *lab) add() kernelCase {
	n := l.tokens * l.hidden
	a := compute.Add{Y: l.out(n), A: l.random(n), B: l.random(n), Scale: 1}
	return kernelCase{name: "Add", shape: shapeText(l.tokens, l.hidden), bytes: 12 * float64(n), run: func() { l.Add(a) }}
}

func (l *lab) castNarrow() kernelCase {
	n := l.tokens * l.hidden
	to, from := l.alloc(compute.BF16, n), l.random(n)
	return kernelCase{name: "Cast float32 to bfloat16", shape: shapeText(l.tokens, l.hidden), bytes: 6 * float64(n), run: func() { l.Cast(to, from) }}
}

func (l *lab) embedding() kernelCase {
	n, c := l.tokens, l.hidden
	a := compute.Embedding{Y: l.out(n * c), Table: l.narrow(l.vocab * c), IDs: l.ints(n, l.vocab), N: n, C: c, Scale: 1}
	return kernelCase{name: "Embedding bfloat16", shape: shapeText(n, c), bytes: 6 * float64(n*c), run: func() { l.Embedding(a) }}
}

func (l *lab) dropout() kernelCase {
	n := l.tokens * l.hidden
	a := compute.Dropout{Y: l.out(n), X: l.random(n), P: 0.05, Scale: 1, Seed: 1, Stream: 2}
	return kernelCase{name: "Dropout", shape: shapeText(l.tokens, l.hidden), bytes: 8 * float64(n), run: func() { l.Dropout(a) }}
}

func (l *lab) quantize() kernelCase {
	out, in := l.projection("gate_proj")
	w, x := l.weight("nf4", out, in), l.random(out*in)
	return kernelCase{name: "Quantize4 nf4 double", shape: shapeText(out, in), bytes: weightBytes(w) + 4*float64(out*in), run: func() { l.Quantize4(w, x) }}
}

func (l *lab) dequantize() kernelCase {
	out, in := l.projection("gate_proj")
	w, x := l.weight("nf4", out, in), l.out(out*in)
	return kernelCase{name: "Dequantize4 nf4 double, to float32", shape: shapeText(out, in), bytes: weightBytes(w) + 4*float64(out*in), run: func() { l.Dequantize4(x, w) }}
}

// adapters are the tensors' sizes of an adapter of about l.adapter parameters.
func (l *lab) adapters() []int {
	var sizes []int
	for left := l.adapter; left > 0; left -= 16 * l.hidden {
		sizes = append(sizes, min(left, 16*l.hidden))
	}
	return sizes
}

func (l *lab) adamW() kernelCase {
	a := compute.AdamW{LR: 1e-4, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, Step: 5, GradScale: 1}
	for _, n := range l.adapters() {
		a.Tensors = append(a.Tensors, compute.AdamWTensor{Param: l.random(n), Grad: l.random(n), M: l.out(n), V: l.out(n), WeightDecay: 0.01})
	}
	return kernelCase{name: "AdamW", shape: fmt.Sprintf("%d in %d tensors", l.adapter, len(a.Tensors)), bytes: 28 * float64(l.adapter), run: func() { l.AdamW(a) }}
}

func (l *lab) adamW8() kernelCase {
	signed, unsigned := compute.DynamicMap(), compute.DynamicMapUnsigned()
	a := compute.AdamW8{LR: 1e-4, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, Step: 5, GradScale: 1, Signed: l.out(256), Unsigned: l.out(256)}
	if l.err == nil {
		compute.Upload(l.Device, a.Signed, signed[:])
		compute.Upload(l.Device, a.Unsigned, unsigned[:])
	}
	for _, n := range l.adapters() {
		blocks := (n + compute.AdamW8Block - 1) / compute.AdamW8Block
		a.Tensors = append(a.Tensors, compute.AdamW8Tensor{
			Param: l.random(n), Grad: l.random(n), M: l.alloc(compute.U8, n), V: l.alloc(compute.U8, n), MAbsmax: l.out(blocks), VAbsmax: l.out(blocks), WeightDecay: 0.01,
		})
	}
	return kernelCase{name: "AdamW8", shape: fmt.Sprintf("%d in %d tensors", l.adapter, len(a.Tensors)), bytes: 16 * float64(l.adapter), run: func() { l.AdamW8(a) }}
}

func (l *lab) gradients() []compute.Buffer {
	var g []compute.Buffer
	for _, n := range l.adapters() {
		g = append(g, l.random(n))
	}
	return g
}

func (l *lab) globalNorm() kernelCase {
	g := l.gradients()
	return kernelCase{name: "GlobalNorm", shape: fmt.Sprintf("%d in %d tensors", l.adapter, len(g)), bytes: 4 * float64(l.adapter), run: func() { l.GlobalNorm(g) }}
}

func (l *lab) firstNonFinite() kernelCase {
	g := l.gradients()
	return kernelCase{name: "FirstNonFinite", shape: fmt.Sprintf("%d in %d tensors", l.adapter, len(g)), bytes: 4 * float64(l.adapter), run: func() { l.FirstNonFinite(g) }}
}

// product is the operations of a matrix product.
func product(n, out, in int) float64 { return 2 * float64(n) * float64(out) * float64(in) }

func weightBytes(w compute.Weight) float64 { return float64(w.Bytes()) }

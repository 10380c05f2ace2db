package profile

import "lathe/compute"

// What each operation computes and moves. Element-wise functions count the operations of their formula, an exponential as one.

// product is a linear layer's product, forward or towards the input: 2·N·Out·In, and 2·N·R a column that LoRA extends.
func product(name string, n int, w compute.Weight, low *compute.LowRank, columns int, accumulate bool, result compute.Buffer, rest ...compute.Buffer) call {
	c := call{operationKey: operationKey{name, weightType(w), n, w.Out, w.In}}
	c.flops = 2 * float64(n) * float64(w.Out) * float64(w.In)
	c.bytes = weightBytes(w) + bytesOf(result) + when(accumulate, bytesOf(result)) + bytesOf(rest...)
	if low != nil {
		c.flops += 2 * float64(n) * float64(low.R) * float64(columns)
		c.bytes += bytesOf(low.U, low.V)
	}
	return c
}

// Linear is compute.Operations' Linear.
func (p *Profile) Linear(a compute.Linear) {
	p.time(product("Linear", a.N, a.W, a.LowRank, a.W.Out, a.Accumulate, a.Y, a.X, a.Bias), func() { p.Device.Linear(a) })
}

// LinearBackwardInput is compute.Operations' LinearBackwardInput.
func (p *Profile) LinearBackwardInput(a compute.LinearBackwardInput) {
	p.time(product("LinearBackwardInput", a.N, a.W, a.LowRank, a.W.In, a.Accumulate, a.DX, a.DY), func() { p.Device.LinearBackwardInput(a) })
}

// LinearBackwardWeight is compute.Operations' LinearBackwardWeight.
func (p *Profile) LinearBackwardWeight(a compute.LinearBackwardWeight) {
	c := call{operationKey: operationKey{"LinearBackwardWeight", "float32", a.N, a.Out, a.In}}
	c.flops = when(a.DW != nil, 2*float64(a.N)*float64(a.Out)*float64(a.In)) + when(a.DBias != nil, float64(a.N)*float64(a.Out))
	c.bytes = 2*bytesOf(a.DW, a.DBias) + bytesOf(a.DY) + when(a.DW != nil, bytesOf(a.X))
	p.time(c, func() { p.Device.LinearBackwardWeight(a) })
}

// LinearCrossEntropy is compute.Operations' LinearCrossEntropy; its products and copies have rows of their own, so that here
// remains the softmax over the logits of trained rows, which pass through memory twice.
func (p *Profile) LinearCrossEntropy(a compute.LinearCrossEntropy) {
	c := call{operationKey: operationKey{name: "LinearCrossEntropy", n: a.N, out: a.W.Out, in: a.W.In}}
	p.time(c, func() { p.Device.LinearCrossEntropy(a) })
}

// Attention is compute.Operations' Attention: two products of 2·D a pair and head.
func (p *Profile) Attention(a compute.Attention) {
	c := call{operationKey: operationKey{name: "Attention", n: a.NQ, out: a.H, in: a.D}}
	c.flops = 4 * attentionPairs(a.AttentionShape) * float64(a.H*a.D)
	c.bytes = bytesOf(a.Out, a.LSE, a.Q) + seenKeys(a.AttentionShape)*bytesOf(a.K, a.V)
	p.time(c, func() { p.Device.Attention(a) })
}

// AttentionBackward is compute.Operations' AttentionBackward: five products, the scores among them (FlashAttention 2, Dao 2023).
func (p *Profile) AttentionBackward(a compute.AttentionBackward) {
	c := call{operationKey: operationKey{name: "AttentionBackward", n: a.NQ, out: a.H, in: a.D}}
	c.flops = 10 * attentionPairs(a.AttentionShape) * float64(a.H*a.D)
	c.bytes = bytesOf(a.DQ, a.DK, a.DV, a.DOut, a.Out, a.LSE, a.Q, a.K, a.V)
	p.time(c, func() { p.Device.AttentionBackward(a) })
}

// each is an operation of so many operations an element of its result, and of those bytes.
func each(name string, n, c int, flops float64, bytes float64) call {
	k := operationKey{name: name, n: n, out: c}
	return call{k, flops * float64(n) * float64(max(c, 1)), bytes}
}

// Embedding is compute.Operations' Embedding; of the table it reads the rows it gathers.
func (p *Profile) Embedding(a compute.Embedding) {
	p.time(each("Embedding", a.N, a.C, 1, 2*bytesOf(a.Y)), func() { p.Device.Embedding(a) })
}

// EmbeddingBackward is compute.Operations' EmbeddingBackward.
func (p *Profile) EmbeddingBackward(a compute.EmbeddingBackward) {
	p.time(each("EmbeddingBackward", a.N, a.C, 2, 3*bytesOf(a.DY)), func() { p.Device.EmbeddingBackward(a) })
}

// RMSNorm is compute.Operations' RMSNorm.
func (p *Profile) RMSNorm(a compute.RMSNorm) {
	p.time(each("RMSNorm", a.N, a.C, 4, bytesOf(a.Y, a.X, a.RStd, a.W)), func() { p.Device.RMSNorm(a) })
}

// RMSNormBackward is compute.Operations' RMSNormBackward.
func (p *Profile) RMSNormBackward(a compute.RMSNormBackward) {
	bytes := bytesOf(a.DX, a.DY, a.X, a.RStd, a.W) + 2*bytesOf(a.DW) + when(a.Accumulate, bytesOf(a.DX))
	p.time(each("RMSNormBackward", a.N, a.C, 8, bytes), func() { p.Device.RMSNormBackward(a) })
}

// LayerNorm is compute.Operations' LayerNorm.
func (p *Profile) LayerNorm(a compute.LayerNorm) {
	p.time(each("LayerNorm", a.N, a.C, 7, bytesOf(a.Y, a.X, a.Mean, a.RStd, a.W, a.Bias)), func() { p.Device.LayerNorm(a) })
}

// LayerNormBackward is compute.Operations' LayerNormBackward.
func (p *Profile) LayerNormBackward(a compute.LayerNormBackward) {
	bytes := bytesOf(a.DX, a.DY, a.X, a.Mean, a.RStd, a.W) + 2*bytesOf(a.DW, a.DBias) + when(a.Accumulate, bytesOf(a.DX))
	p.time(each("LayerNormBackward", a.N, a.C, 11, bytes), func() { p.Device.LayerNormBackward(a) })
}

// RoPE is compute.Operations' RoPE.
func (p *Profile) RoPE(a compute.RoPE) {
	p.time(each("RoPE", a.N, a.H*a.Rotary, 3, 2*bytesOf(a.X)), func() { p.Device.RoPE(a) })
}

// GatedActivation is compute.Operations' GatedActivation.
func (p *Profile) GatedActivation(a compute.GatedActivation) {
	p.time(each("GatedActivation", lenOf(a.Y), 0, 5, bytesOf(a.Y, a.Gate, a.Up)), func() { p.Device.GatedActivation(a) })
}

// GatedActivationBackward is compute.Operations' GatedActivationBackward.
func (p *Profile) GatedActivationBackward(a compute.GatedActivationBackward) {
	bytes := bytesOf(a.DGate, a.DUp, a.DY, a.Gate, a.Up)
	p.time(each("GatedActivationBackward", lenOf(a.DY), 0, 10, bytes), func() { p.Device.GatedActivationBackward(a) })
}

// Activation is compute.Operations' Activation.
func (p *Profile) Activation(a compute.Activation) {
	p.time(each("Activation", lenOf(a.Y), 0, 4, bytesOf(a.Y, a.X)), func() { p.Device.Activation(a) })
}

// ActivationBackward is compute.Operations' ActivationBackward.
func (p *Profile) ActivationBackward(a compute.ActivationBackward) {
	p.time(each("ActivationBackward", lenOf(a.DY), 0, 6, bytesOf(a.DX, a.DY, a.X)), func() { p.Device.ActivationBackward(a) })
}

// Dropout is compute.Operations' Dropout; Philox's integers are not counted.
func (p *Profile) Dropout(a compute.Dropout) {
	bytes := bytesOf(a.Y, a.X) + when(a.Accumulate, bytesOf(a.Y))
	p.time(each("Dropout", lenOf(a.Y), 0, 1, bytes), func() { p.Device.Dropout(a) })
}

// Add is compute.Operations' Add.
func (p *Profile) Add(a compute.Add) {
	p.time(each("Add", lenOf(a.Y), 0, 2, bytesOf(a.Y, a.A, a.B)), func() { p.Device.Add(a) })
}

// CopyBlocks is compute.Operations' CopyBlocks.
func (p *Profile) CopyBlocks(a compute.CopyBlocks) {
	c := a.Groups * a.Width
	p.time(each("CopyBlocks", a.N, c, 0, 8*float64(a.N)*float64(c)), func() { p.Device.CopyBlocks(a) })
}

// RowNorm is compute.Operations' RowNorm.
func (p *Profile) RowNorm(a compute.RowNorm) {
	c := each("RowNorm", a.W.Out, a.W.In, 2, weightBytes(a.W)+bytesOf(a.Y))
	if a.LowRank != nil {
		c.flops += 2 * float64(a.LowRank.R) * float64(a.W.Out) * float64(a.W.In)
	}
	p.time(c, func() { p.Device.RowNorm(a) })
}

// ScaleColumns is compute.Operations' ScaleColumns.
func (p *Profile) ScaleColumns(a compute.ScaleColumns) {
	bytes := bytesOf(a.Y, a.X, a.S) + when(a.Accumulate, bytesOf(a.Y))
	p.time(each("ScaleColumns", a.N, a.C, 1, bytes), func() { p.Device.ScaleColumns(a) })
}

// ScaleColumnsBackward is compute.Operations' ScaleColumnsBackward.
func (p *Profile) ScaleColumnsBackward(a compute.ScaleColumnsBackward) {
	p.time(each("ScaleColumnsBackward", a.N, a.C, 3, bytesOf(a.DX, a.DY, a.X, a.S)), func() { p.Device.ScaleColumnsBackward(a) })
}

// Quantize4 is compute.Operations' Quantize4.
func (p *Profile) Quantize4(dst compute.Weight, src compute.Buffer) {
	p.time(each("Quantize4", dst.Out, dst.In, 1, weightBytes(dst)+bytesOf(src)), func() { p.Device.Quantize4(dst, src) })
}

// Dequantize4 is compute.Operations' Dequantize4.
func (p *Profile) Dequantize4(dst compute.Buffer, src compute.Weight) {
	p.time(each("Dequantize4", src.Out, src.In, 1, weightBytes(src)+bytesOf(dst)), func() { p.Device.Dequantize4(dst, src) })
}

// AdamW is compute.Operations' AdamW: parameters and moments are read and written, gradients read.
func (p *Profile) AdamW(a compute.AdamW) {
	var elements int
	for _, t := range a.Tensors {
		elements += lenOf(t.Param)
	}
	p.time(each("AdamW", elements, 0, 14, 28*float64(elements)), func() { p.Device.AdamW(a) })
	p.step()
}

// AdamW8 is compute.Operations' AdamW8: AdamW with moments of a byte.
func (p *Profile) AdamW8(a compute.AdamW8) {
	var elements int
	for _, t := range a.Tensors {
		elements += lenOf(t.Param)
	}
	p.time(each("AdamW8", elements, 0, 14, 16*float64(elements)), func() { p.Device.AdamW8(a) })
	p.step()
}

// GlobalNorm is compute.Operations' GlobalNorm.
func (p *Profile) GlobalNorm(buffers []compute.Buffer) (norm float64) {
	bytes := bytesOf(buffers...)
	p.time(each("GlobalNorm", int(bytes/4), 0, 2, bytes), func() { norm = p.Device.GlobalNorm(buffers) })
	return norm
}

// FirstNonFinite is compute.Operations' FirstNonFinite.
func (p *Profile) FirstNonFinite(buffers []compute.Buffer) (buffer, index int) {
	bytes := bytesOf(buffers...)
	p.time(each("FirstNonFinite", int(bytes/4), 0, 0, bytes), func() { buffer, index = p.Device.FirstNonFinite(buffers) })
	return buffer, index
}

// Copy is compute.Device's Copy.
func (p *Profile) Copy(dst, src compute.Buffer) {
	p.time(each("Copy", lenOf(dst), 0, 0, bytesOf(dst, src)), func() { p.Device.Copy(dst, src) })
}

// Cast is compute.Device's Cast.
func (p *Profile) Cast(dst, src compute.Buffer) {
	p.time(each("Cast", lenOf(dst), 0, 0, bytesOf(dst, src)), func() { p.Device.Cast(dst, src) })
}

// Zero is compute.Device's Zero.
func (p *Profile) Zero(b compute.Buffer) {
	p.time(each("Zero", lenOf(b), 0, 0, bytesOf(b)), func() { p.Device.Zero(b) })
}

// Upload is compute.Device's Upload.
func (p *Profile) Upload(dst compute.Buffer, src []byte) {
	p.time(each("Upload", len(src), 0, 0, 2*float64(len(src))), func() { p.Device.Upload(dst, src) })
}

// Download is compute.Device's Download.
func (p *Profile) Download(dst []byte, src compute.Buffer) {
	p.time(each("Download", len(dst), 0, 0, 2*float64(len(dst))), func() { p.Device.Download(dst, src) })
}

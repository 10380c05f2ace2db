package cuda

import "lathe/compute"

func (d *Device) missing(op string) { d.begin(op).Fail("the CUDA device cannot do this yet") }

<<<<<<< HEAD
// Linear is compute.Operations' Linear.
func (d *Device) Linear(compute.Linear) { d.missing("Linear") }

// LinearBackwardInput is compute.Operations' LinearBackwardInput.
func (d *Device) LinearBackwardInput(compute.LinearBackwardInput) { d.missing("LinearBackwardInput") }

// LinearBackwardWeight is compute.Operations' LinearBackwardWeight.
func (d *Device) LinearBackwardWeight(compute.LinearBackwardWeight) {
	d.missing("LinearBackwardWeight")
}

// RowNorm is compute.Operations' RowNorm.
func (d *Device) RowNorm(compute.RowNorm) { d.missing("RowNorm") }
=======
// Embedding is compute.Operations' Embedding.
func (d *Device) Embedding(compute.Embedding) { d.missing("Embedding") }

// EmbeddingBackward is compute.Operations' EmbeddingBackward.
func (d *Device) EmbeddingBackward(compute.EmbeddingBackward) { d.missing("EmbeddingBackward") }

// RMSNorm is compute.Operations' RMSNorm.
func (d *Device) RMSNorm(compute.RMSNorm) { d.missing("RMSNorm") }

// RMSNormBackward is compute.Operations' RMSNormBackward.
func (d *Device) RMSNormBackward(compute.RMSNormBackward) { d.missing("RMSNormBackward") }

// LayerNorm is compute.Operations' LayerNorm.
func (d *Device) LayerNorm(compute.LayerNorm) { d.missing("LayerNorm") }

// LayerNormBackward is compute.Operations' LayerNormBackward.
func (d *Device) LayerNormBackward(compute.LayerNormBackward) { d.missing("LayerNormBackward") }

// RoPE is compute.Operations' RoPE.
func (d *Device) RoPE(compute.RoPE) { d.missing("RoPE") }

// Attention is compute.Operations' Attention.
func (d *Device) Attention(compute.Attention) { d.missing("Attention") }

// AttentionBackward is compute.Operations' AttentionBackward.
func (d *Device) AttentionBackward(compute.AttentionBackward) { d.missing("AttentionBackward") }

// GatedActivation is compute.Operations' GatedActivation.
func (d *Device) GatedActivation(compute.GatedActivation) { d.missing("GatedActivation") }

// GatedActivationBackward is compute.Operations' GatedActivationBackward.
func (d *Device) GatedActivationBackward(compute.GatedActivationBackward) {
	d.missing("GatedActivationBackward")
}

// Activation is compute.Operations' Activation.
func (d *Device) Activation(compute.Activation) { d.missing("Activation") }

// ActivationBackward is compute.Operations' ActivationBackward.
func (d *Device) ActivationBackward(compute.ActivationBackward) { d.missing("ActivationBackward") }

// Dropout is compute.Operations' Dropout.
func (d *Device) Dropout(compute.Dropout) { d.missing("Dropout") }

// CopyBlocks is compute.Operations' CopyBlocks.
func (d *Device) CopyBlocks(compute.CopyBlocks) { d.missing("CopyBlocks") }

// ScaleColumns is compute.Operations' ScaleColumns.
func (d *Device) ScaleColumns(compute.ScaleColumns) { d.missing("ScaleColumns") }

// ScaleColumnsBackward is compute.Operations' ScaleColumnsBackward.
func (d *Device) ScaleColumnsBackward(compute.ScaleColumnsBackward) {
	d.missing("ScaleColumnsBackward")
}

// LinearCrossEntropy is compute.Operations' LinearCrossEntropy.
func (d *Device) LinearCrossEntropy(compute.LinearCrossEntropy) { d.missing("LinearCrossEntropy") }

// AdamW is compute.Operations' AdamW.
func (d *Device) AdamW(compute.AdamW) { d.missing("AdamW") }

// AdamW8 is compute.Operations' AdamW8.
func (d *Device) AdamW8(compute.AdamW8) { d.missing("AdamW8") }

// Quantize4 is compute.Operations' Quantize4.
func (d *Device) Quantize4(compute.Weight, compute.Buffer) { d.missing("Quantize4") }

// Dequantize4 is compute.Operations' Dequantize4.
func (d *Device) Dequantize4(compute.Buffer, compute.Weight) { d.missing("Dequantize4") }

// GlobalNorm is compute.Operations' GlobalNorm.
func (d *Device) GlobalNorm([]compute.Buffer) float64 { d.missing("GlobalNorm"); return 0 }

// FirstNonFinite is compute.Operations' FirstNonFinite.
func (d *Device) FirstNonFinite([]compute.Buffer) (buffer, index int) {
	d.missing("FirstNonFinite")
	return -1, -1
}
>>>>>>> 031de60 (cuda: products of every weight on tensor cores and in float32, products with few rows straight from 4-bit codes, lengths of rows)

package cpu

// #include "queue.h"
import "C"

import (
	"lathe/compute"
	"lathe/compute/check"
)

// RMSNorm is compute.Operations' RMSNorm.
func (d *Device) RMSNorm(a compute.RMSNorm) {
	c := d.begin("RMSNorm")
	args := C.lathe_rms_norm_args{
		y: c.f32("Y", a.Y, a.N, a.C), x: c.f32("X", a.X, a.N, a.C),
		rstd: c.optional("RStd", a.RStd, a.N), w: c.f32("W", a.W, a.C),
		n: C.int64_t(a.N), c: C.int64_t(a.C), eps: C.float(a.Eps), offset: C.float(a.Offset),
	}
	if c.OK {
		push(d, C.LATHE_QUEUED_rms_norm, &args)
	}
}

// RMSNormBackward is compute.Operations' RMSNormBackward.
func (d *Device) RMSNormBackward(a compute.RMSNormBackward) {
	c := d.begin("RMSNormBackward")
	args := C.lathe_rms_norm_backward_args{
		dx: c.f32("DX", a.DX, a.N, a.C), dy: c.f32("DY", a.DY, a.N, a.C), x: c.f32("X", a.X, a.N, a.C),
		rstd: c.f32("RStd", a.RStd, a.N), w: c.f32("W", a.W, a.C), dw: c.optional("DW", a.DW, a.C),
		n: C.int64_t(a.N), c: C.int64_t(a.C), offset: C.float(a.Offset), accumulate: flag(a.Accumulate),
	}
	if c.OK {
		push(d, C.LATHE_QUEUED_rms_norm_backward, &args)
	}
}

// LayerNorm is compute.Operations' LayerNorm.
func (d *Device) LayerNorm(a compute.LayerNorm) {
	c := d.begin("LayerNorm")
	args := C.lathe_layer_norm_args{
		y: c.f32("Y", a.Y, a.N, a.C), x: c.f32("X", a.X, a.N, a.C),
		mean: c.optional("Mean", a.Mean, a.N), rstd: c.optional("RStd", a.RStd, a.N),
		w: c.f32("W", a.W, a.C), bias: c.optional("Bias", a.Bias, a.C),
		n: C.int64_t(a.N), c: C.int64_t(a.C), eps: C.float(a.Eps),
	}
	if c.OK {
		push(d, C.LATHE_QUEUED_layer_norm, &args)
	}
}

// LayerNormBackward is compute.Operations' LayerNormBackward.
func (d *Device) LayerNormBackward(a compute.LayerNormBackward) {
	c := d.begin("LayerNormBackward")
	args := C.lathe_layer_norm_backward_args{
		dx: c.f32("DX", a.DX, a.N, a.C), dy: c.f32("DY", a.DY, a.N, a.C), x: c.f32("X", a.X, a.N, a.C),
		mean: c.f32("Mean", a.Mean, a.N), rstd: c.f32("RStd", a.RStd, a.N), w: c.f32("W", a.W, a.C),
		dw: c.optional("DW", a.DW, a.C), dbias: c.optional("DBias", a.DBias, a.C),
		n: C.int64_t(a.N), c: C.int64_t(a.C), accumulate: flag(a.Accumulate),
	}
	if c.OK {
		push(d, C.LATHE_QUEUED_layer_norm_backward, &args)
	}
}

// RoPE is compute.Operations' RoPE.
func (d *Device) RoPE(a compute.RoPE) {
	c := d.begin("RoPE")
	c.Rotary(a)
	if !c.OK {
		return
	}
	half := a.Rotary / 2
	positions := check.Len(a.Cos) / half
	args := C.lathe_rope_args{
		x:      c.f32("X", a.X, a.N, a.H, a.D),
		cosine: c.f32("Cos", a.Cos, positions, half), sine: c.f32("Sin", a.Sin, positions, half),
		positions: c.indices("Positions", a.Positions, a.N, positions, 0),
		n:         C.int64_t(a.N), h: C.int64_t(a.H), d: C.int64_t(a.D), rotary: C.int64_t(a.Rotary),
		interleaved: flag(a.Interleaved), inverse: flag(a.Inverse),
	}
	c.Want(a.N == 0 || positions > 0, "Cos holds no position")
	if c.OK {
		push(d, C.LATHE_QUEUED_rope, &args)
	}
}

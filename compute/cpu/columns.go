package cpu

// #include "queue.h"
import "C"

import "lathe/compute"

// CopyBlocks is compute.Operations' CopyBlocks.
func (d *Device) CopyBlocks(a compute.CopyBlocks) {
	c := d.begin("CopyBlocks")
	c.Columns(a)
	args := C.lathe_copy_blocks_args{
		dst: c.f32("Dst", a.Dst, a.N, a.Groups, a.DstWidth), src: c.f32("Src", a.Src, a.N, a.Groups, a.SrcWidth),
		n: C.int64_t(a.N), groups: C.int64_t(a.Groups), width: C.int64_t(a.Width),
		dst_width: C.int64_t(a.DstWidth), dst_at: C.int64_t(a.DstAt), src_width: C.int64_t(a.SrcWidth), src_at: C.int64_t(a.SrcAt),
	}
	if c.OK {
		push(d, C.LATHE_QUEUED_copy_blocks, &args)
	}
}

// ScaleColumns is compute.Operations' ScaleColumns.
func (d *Device) ScaleColumns(a compute.ScaleColumns) {
	c := d.begin("ScaleColumns")
	args := C.lathe_scale_columns_args{
		y: c.f32("Y", a.Y, a.N, a.C), x: c.f32("X", a.X, a.N, a.C), s: c.f32("S", a.S, a.C),
		n: C.int64_t(a.N), c: C.int64_t(a.C), accumulate: flag(a.Accumulate),
	}
	if c.OK {
		push(d, C.LATHE_QUEUED_scale_columns, &args)
	}
}

// ScaleColumnsBackward is compute.Operations' ScaleColumnsBackward.
func (d *Device) ScaleColumnsBackward(a compute.ScaleColumnsBackward) {
	c := d.begin("ScaleColumnsBackward")
	args := C.lathe_scale_columns_backward_args{
		dx: c.optional("DX", a.DX, a.N, a.C), ds: c.optional("DS", a.DS, a.C), dy: c.f32("DY", a.DY, a.N, a.C),
		n: C.int64_t(a.N), c: C.int64_t(a.C),
	}
	if a.DX != nil {
		args.s = c.f32("S", a.S, a.C)
	}
	if a.DS != nil {
		args.x = c.f32("X", a.X, a.N, a.C)
	}
	if c.OK {
		push(d, C.LATHE_QUEUED_scale_columns_backward, &args)
	}
}

// RowNorm is compute.Operations' RowNorm: products in float32, squares summed in float64.
func (d *Device) RowNorm(a compute.RowNorm) {
	c := d.begin("RowNorm")
	out, in := a.W.Out, a.W.In
	args := C.lathe_row_norm_args{
		y: c.f32("Y", a.Y, out), w: c.weight(a.W, false), out: C.int64_t(out), in: C.int64_t(in),
	}
	if r := a.LowRank; r != nil {
		c.Rank(r)
		args.r, args.scale = C.int64_t(r.R), C.float(r.Scale)
		args.u, args.v = c.f32("LowRank.U", r.U, r.R, in), c.f32("LowRank.V", r.V, out, r.R)
	}
	if c.OK {
		push(d, C.LATHE_QUEUED_row_norm, &args)
	}
}

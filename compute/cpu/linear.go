package cpu

// #include "queue.h"
import "C"

import (
	"unsafe"

	"lathe/compute"
)

// operand is a row-major matrix [rows,cols] of float32 as it stands, or transposed.
func operand(p unsafe.Pointer, cols int, transposed bool) C.lathe_matrix {
	m := C.lathe_matrix{data: p, _type: C.LATHE_F32, rs: C.int64_t(cols), cs: 1}
	if transposed {
		m.rs, m.cs = m.cs, m.rs
	}
	return m
}

// weight is W [Out,In] of any type as an operand, or Wᵀ.
func (c *checked) weight(w compute.Weight, transposed bool) C.lathe_matrix {
	m := operand(nil, w.In, transposed)
	if w.Quant == nil {
		m.data = c.Float("W", w.Data, w.Out, w.In)
		if c.OK {
			m._type = C.int(w.Data.DType())
		}
		return m
	}
	m._type = C.LATHE_QUANT4
	m.data, m.quant = c.quant4(w)
	return m
}

// quant4 is the codes and the scales of a 4-bit weight.
func (c *checked) quant4(w compute.Weight) (data unsafe.Pointer, scales C.lathe_quant4) {
	a := c.Quant4(w)
	if !c.OK {
		return nil, scales
	}
	scales.block, scales.code = C.int(w.Quant.Block), &C.lathe_code_book_of(C.int(w.Quant.Type)).code[0]
	scales.absmax, scales.codes = (*C.float)(a.Absmax), (*C.uint8_t)(a.Codes)
	scales.nested, scales._map, scales.offset = (*C.float)(a.Nested), (*C.float)(a.Map), (*C.float)(a.Offset)
	return a.Data, scales
}

// lowRank sets the K-extension of a product of n rows, whose V is [rows,cols].
func (c *checked) lowRank(g *C.lathe_gemm_args, r *compute.LowRank, n int, rows, cols int, transposed bool) {
	if r == nil {
		return
	}
	c.Rank(r)
	g.r, g.ext = C.int64_t(r.R), C.float(r.Scale)
	g.u = operand(unsafe.Pointer(c.f32("LowRank.U", r.U, n, r.R)), r.R, false)
	g.v = operand(unsafe.Pointer(c.f32("LowRank.V", r.V, rows, cols)), cols, transposed)
}

// productBytes is the workspace of a product of any shape.
func productBytes(threads C.int) int64 { return int64(C.lathe_gemm_scratch(threads)) }

// multiply runs a product, unless something before it did not fit.
func (c *checked) multiply(g *C.lathe_gemm_args, dtype compute.DType) {
	c.Want(dtype == compute.F32 || dtype == compute.BF16, "products in %s were asked for, this device multiplies in float32 and bfloat16", dtype)
	if !c.OK || g.m == 0 || g.n == 0 {
		return
	}
	g.narrow = flag(dtype == compute.BF16)
	if space := c.d.workspace(c.Operation(), slotTask, productBytes(c.d.threads)); space != nil {
		push(c.d, C.LATHE_QUEUED_product, &C.lathe_product_args{g: *g, scratch: space.p, bytes: C.int64_t(space.bytes)})
	}
}

// Linear is compute.Operations' Linear: X [N,In] · Wᵀ [In,Out], extended by U [N,R] · Vᵀ [R,Out].
func (d *Device) Linear(a compute.Linear) {
	c := d.begin("Linear")
	out, in := a.W.Out, a.W.In
	g := &C.lathe_gemm_args{
		m: C.int64_t(a.N), n: C.int64_t(out), k: C.int64_t(in), ldc: C.int64_t(out), alpha: 1,
		c: c.f32("Y", a.Y, a.N, out), bias: c.optional("Bias", a.Bias, out), accumulate: flag(a.Accumulate),
		a: operand(unsafe.Pointer(c.f32("X", a.X, a.N, in)), in, false),
		b: c.weight(a.W, true),
	}
	if r := a.LowRank; r != nil {
		c.lowRank(g, r, a.N, out, r.R, true)
	}
	c.multiply(g, a.Compute)
}

// LinearBackwardInput is compute.Operations' LinearBackwardInput: DY [N,Out] · W [Out,In], extended by U [N,R] · V [R,In].
func (d *Device) LinearBackwardInput(a compute.LinearBackwardInput) {
	c := d.begin("LinearBackwardInput")
	out, in := a.W.Out, a.W.In
	g := &C.lathe_gemm_args{
		m: C.int64_t(a.N), n: C.int64_t(in), k: C.int64_t(out), ldc: C.int64_t(in), alpha: 1,
		c: c.f32("DX", a.DX, a.N, in), accumulate: flag(a.Accumulate),
		a: operand(unsafe.Pointer(c.f32("DY", a.DY, a.N, out)), out, false),
		b: c.weight(a.W, false),
	}
	if r := a.LowRank; r != nil {
		c.lowRank(g, r, a.N, r.R, in, false)
	}
	c.multiply(g, a.Compute)
}

// LinearBackwardWeight is compute.Operations' LinearBackwardWeight: DYᵀ [Out,N] · X [N,In].
func (d *Device) LinearBackwardWeight(a compute.LinearBackwardWeight) {
	c := d.begin("LinearBackwardWeight")
	dy := c.f32("DY", a.DY, a.N, a.Out)
	dw, bias := c.optional("DW", a.DW, a.Out, a.In), c.optional("DBias", a.DBias, a.Out)
	if dw != nil {
		c.multiply(&C.lathe_gemm_args{
			m: C.int64_t(a.Out), n: C.int64_t(a.In), k: C.int64_t(a.N), ldc: C.int64_t(a.In), alpha: C.float(a.Scale),
			c: dw, accumulate: 1,
			a: operand(unsafe.Pointer(dy), a.Out, true),
			b: operand(unsafe.Pointer(c.f32("X", a.X, a.N, a.In)), a.In, false),
		}, a.Compute)
	}
	if c.OK && bias != nil {
		push(d, C.LATHE_QUEUED_column_sums, &C.lathe_column_sums_args{dst: bias, src: dy, rows: C.int64_t(a.N), cols: C.int64_t(a.Out)})
	}
}

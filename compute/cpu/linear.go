package cpu

// #include "lathe.h"
// #include "linear_plain.h"
import "C"

import (
	"unsafe"

	"lathe/compute"
)

func (c *check) weight(w compute.Weight) *C.float {
	n := w.Out * w.In
	m := C.lathe_matrix{}
	if w.NF4 == nil {
		m.data = c.float("W", w.Data, w.Out, w.In)
		if !c.ok {
			return nil
		}
		if w.Data.DType() == compute.F32 {
			return (*C.float)(m.data)
		}
		m._type = C.int(w.Data.DType())
	} else {
		blocks := (n + w.NF4.Block - 1) / w.NF4.Block
		m._type = C.LATHE_NF4
		m.data = c.typed("W", w.Data, compute.U8, (n+1)/2)
		m.nf4.block = C.int(w.NF4.Block)
		if w.NF4.Absmax != nil {
			m.nf4.absmax = c.f32("Absmax", w.NF4.Absmax, blocks)
		} else {
			m.nf4.codes = (*C.uint8_t)(c.typed("Codes", w.NF4.Codes, compute.U8, blocks))
			m.nf4.nested = c.f32("Nested", w.NF4.Nested, (blocks+255)/256)
			m.nf4._map = c.f32("Map", w.NF4.Map, 256)
			m.nf4.offset = c.f32("Offset", w.NF4.Offset, 1)
		}
	}
	if !c.ok {
		return nil
	}
	space := c.d.workspace(c.op, slotTask, 4*int64(n))
	if space == nil {
		c.ok = false
		return nil
	}
	C.lathe_plain_widen((*C.float)(space.p), &m, C.int64_t(n))
	return (*C.float)(space.p)
}

func product(y, a *C.float, ars, acs int, b *C.float, brs, bcs, m, n, k int, alpha float32, accumulate bool) {
	C.lathe_plain_product(y, a, C.int64_t(ars), C.int64_t(acs), b, C.int64_t(brs), C.int64_t(bcs), C.int64_t(m), C.int64_t(n), C.int64_t(k), C.float(alpha), C.int(flag(accumulate)))
}

func (d *Device) Linear(a compute.Linear) {
	c := d.begin("Linear")
	y, x, bias := c.f32("Y", a.Y, a.N, a.W.Out), c.f32("X", a.X, a.N, a.W.In), c.optional("Bias", a.Bias, a.W.Out)
	w := c.weight(a.W)
	var u, v *C.float
	if r := a.LowRank; r != nil {
		u, v = c.f32("U", r.U, a.N, r.R), c.f32("V", r.V, a.W.Out, r.R)
	}
	if !c.ok {
		return
	}
	product(y, x, a.W.In, 1, w, 1, a.W.In, a.N, a.W.Out, a.W.In, 1, a.Accumulate)
	if r := a.LowRank; r != nil {
		product(y, u, r.R, 1, v, 1, r.R, a.N, a.W.Out, r.R, r.Scale, true)
	}
	if bias != nil {
		C.lathe_plain_bias(y, bias, C.int64_t(a.N), C.int64_t(a.W.Out))
	}
}

func (d *Device) LinearBackwardInput(a compute.LinearBackwardInput) {
	c := d.begin("LinearBackwardInput")
	dx, dy := c.f32("DX", a.DX, a.N, a.W.In), c.f32("DY", a.DY, a.N, a.W.Out)
	w := c.weight(a.W)
	var u, v *C.float
	if r := a.LowRank; r != nil {
		u, v = c.f32("U", r.U, a.N, r.R), c.f32("V", r.V, r.R, a.W.In)
	}
	if !c.ok {
		return
	}
	product(dx, dy, a.W.Out, 1, w, a.W.In, 1, a.N, a.W.In, a.W.Out, 1, a.Accumulate)
	if r := a.LowRank; r != nil {
		product(dx, u, r.R, 1, v, a.W.In, 1, a.N, a.W.In, r.R, r.Scale, true)
	}
}

func (d *Device) LinearBackwardWeight(a compute.LinearBackwardWeight) {
	c := d.begin("LinearBackwardWeight")
	dy := c.f32("DY", a.DY, a.N, a.Out)
	dw, db := c.optional("DW", a.DW, a.Out, a.In), c.optional("DBias", a.DBias, a.Out)
	if c.ok && dw != nil {
		if x := c.f32("X", a.X, a.N, a.In); c.ok {
			product(dw, dy, 1, a.Out, x, a.In, 1, a.Out, a.In, a.N, a.Scale, true)
		}
	}
	if c.ok && db != nil {
		C.lathe_plain_dbias(db, dy, C.int64_t(a.N), C.int64_t(a.Out))
	}
}

func (d *Device) QuantizeNF4(dst compute.Weight, src compute.Buffer) {
	c := d.begin("QuantizeNF4")
	n := dst.Out * dst.In
	c.want(dst.NF4 != nil, "the weight has no NF4 scales")
	if !c.ok {
		return
	}
	blocks := (n + dst.NF4.Block - 1) / dst.NF4.Block
	data, from := c.typed("W", dst.Data, compute.U8, (n+1)/2), c.f32("src", src, n)
	if dst.NF4.Absmax != nil {
		if absmax := c.f32("Absmax", dst.NF4.Absmax, blocks); c.ok {
			C.lathe_plain_quantize((*C.uint8_t)(data), absmax, from, C.int64_t(n), C.int(dst.NF4.Block))
		}
		return
	}
	codes, nested := c.typed("Codes", dst.NF4.Codes, compute.U8, blocks), c.f32("Nested", dst.NF4.Nested, (blocks+255)/256)
	table, offset := c.f32("Map", dst.NF4.Map, 256), c.f32("Offset", dst.NF4.Offset, 1)
	if !c.ok {
		return
	}
	space := d.workspace(c.op, slotTask, 4*int64(blocks))
	if space == nil {
		return
	}
	C.lathe_plain_quantize((*C.uint8_t)(data), (*C.float)(space.p), from, C.int64_t(n), C.int(dst.NF4.Block))
	absmax, mean := cSlice[float32](space.p, blocks), 0.0
	for _, x := range absmax {
		mean += float64(x) / float64(blocks)
	}
	*offset = C.float(mean)
	values := cSlice[float32](unsafe.Pointer(table), 256)
	for b, x := range absmax {
		if b%256 == 0 {
			top := float32(0)
			for _, y := range absmax[b:min(b+256, blocks)] {
				top = max(top, y-float32(mean), float32(mean)-y)
			}
			cSlice[float32](unsafe.Pointer(nested), (blocks+255)/256)[b/256] = top
		}
		scaled, best := (x-float32(mean))*(1/cSlice[float32](unsafe.Pointer(nested), (blocks+255)/256)[b/256]), 0
		for i, v := range values {
			if max(v-scaled, scaled-v) < max(values[best]-scaled, scaled-values[best]) {
				best = i
			}
		}
		cSlice[uint8](codes, blocks)[b] = uint8(best)
	}
}

func (d *Device) DequantizeNF4(dst compute.Buffer, src compute.Weight) {
	c := d.begin("DequantizeNF4")
	w, y := c.weight(src), c.f32("dst", dst, src.Out*src.In)
	if c.ok {
		C.lathe_copy(unsafe.Pointer(y), unsafe.Pointer(w), C.int64_t(4*src.Out*src.In))
	}
}

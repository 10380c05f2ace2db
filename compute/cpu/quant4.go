package cpu

// #include "lathe.h"
import "C"

import (
	"lathe/compute"
)

// Quantize4 writes src [Out,In] (F32, BF16 or F16) as the 4-bit weight dst, with bitsandbytes' bytes: codes, scales, and
// where dst is double quantised the 8-bit scales, whose map dst.Quant.Map must already hold (compute.NewQuant4 sees to it).
func (d *Device) Quantize4(dst compute.Weight, src compute.Buffer) {
	c := d.begin("Quantize4")
	data, scales := c.quant4(dst)
	n := dst.Out * dst.In
	args := C.lathe_quantize4_args{
		data: (*C.uint8_t)(data), absmax: scales.absmax, src: C.lathe_matrix{data: c.Float("src", src, dst.Out, dst.In)},
		n: C.int64_t(n), block: scales.block,
	}
	if !c.OK || n == 0 {
		return
	}
	args.src._type, args.book = C.int(src.DType()), C.lathe_code_book_of(C.int(dst.Quant.Type))
	if scales.absmax != nil {
		C.lathe_quantize4(&args)
		return
	}
	space := d.workspace(c.Operation(), slotTask, quantizeBytes(dst))
	if space == nil {
		return
	}
	args.absmax = (*C.float)(space.p)
	C.lathe_quantize4(&args)
	C.lathe_quantize4_nest(scales.codes, scales.nested, scales.offset, scales._map, args.absmax, C.int64_t(dst.Quant.Codes.Len()))
}

// quantizeBytes is the workspace of Quantize4: the scales before they are quantised themselves.
func quantizeBytes(w compute.Weight) int64 {
	if w.Quant == nil || w.Quant.Codes == nil {
		return 0
	}
	return 4 * int64(w.Quant.Codes.Len())
}

// Dequantize4 writes a 4-bit weight (or one of any other type) as dst, F32 [Out,In]: code book times scale, rounded once.
func (d *Device) Dequantize4(dst compute.Buffer, src compute.Weight) {
	c := d.begin("Dequantize4")
	m, to := c.weight(src, false), c.f32("dst", dst, src.Out, src.In)
	if c.OK && src.Out*src.In > 0 {
		C.lathe_widen(to, &m, C.int64_t(src.Out*src.In))
	}
}

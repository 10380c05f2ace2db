package cpu

// #include "queue.h"
import "C"

import (
	"unsafe"

	"lathe/compute"
)

// Quantize4 writes src [Out,In] (F32, BF16 or F16) as the 4-bit weight dst, with bitsandbytes' bytes: codes, scales, and
// where dst is double quantised the 8-bit scales, whose map dst.Quant.Map must already hold (compute.NewQuant4 sees to it).
func (d *Device) Quantize4(dst compute.Weight, src compute.Buffer) {
	c := d.begin("Quantize4")
	data, scales := c.quant4(dst)
	from := c.Float("src", src, dst.Out, dst.In)
	if !c.OK || src.Len() == 0 {
		return
	}
	args := quantizeArgs(dst, data, scales, from, src)
	if scales.absmax != nil {
		push(d, C.LATHE_QUEUED_quantize4, &args)
		return
	}
	space := d.workspace(c.Operation(), slotTask, quantizeBytes(dst))
	if space == nil {
		return
	}
	args.absmax = (*C.float)(space.p)
	push(d, C.LATHE_QUEUED_quantize4, &args)
	nest := nestArgs(dst, scales, args.absmax)
	push(d, C.LATHE_QUEUED_quantize4_nest, &nest)
}

func quantizeArgs(w compute.Weight, data unsafe.Pointer, scales C.lathe_quant4, from unsafe.Pointer, src compute.Buffer) C.lathe_quantize4_args {
	args := C.lathe_quantize4_args{
		data: (*C.uint8_t)(data), absmax: scales.absmax, src: C.lathe_matrix{data: from},
		n: C.int64_t(src.Len()), block: scales.block, book: C.lathe_code_book_of(C.int(w.Quant.Type)),
	}
	args.src._type = C.int(src.DType())
	return args
}

func nestArgs(w compute.Weight, scales C.lathe_quant4, absmax *C.float) C.lathe_quantize4_nest_args {
	return C.lathe_quantize4_nest_args{
		codes: scales.codes, nested: scales.nested, offset: scales.offset, _map: scales._map, absmax: absmax,
		blocks: C.int64_t(w.Quant.Codes.Len()),
	}
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
		push(d, C.LATHE_QUEUED_widen, &C.lathe_widen_args{dst: to, src: m, n: C.int64_t(src.Out * src.In)})
	}
}

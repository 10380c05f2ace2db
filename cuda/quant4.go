package cuda

import (
	"lathe/compute"
	"lathe/compute/check"
	"lathe/cuda/driver"
)

// quantWarps is the number of warps of a block of quantize4, each of which takes a block of elements.
const quantWarps = 8

// Quantize4 is compute.Operations' Quantize4 with the bytes that bitsandbytes writes on CUDA, where they differ from those of its
// CPU library: codes of numbers next to a threshold, of blocks of zeros, and scales in 8 bits by the nearest value of the map.
func (d *Device) Quantize4(dst compute.Weight, src compute.Buffer) {
	c := d.begin("Quantize4")
	a := c.Quant4(dst)
	n := dst.Out * dst.In
	from := c.Float("src", src, dst.Out, dst.In)
	if !c.OK || n == 0 {
		return
	}
	absmax, blocks := a.Absmax, (n+dst.Quant.Block-1)/dst.Quant.Block
	if absmax == 0 {
		absmax = c.space(quantizeBytes(dst))
	}
	kernel := [...]string{compute.F32: "quant4.quantize4_f32", compute.BF16: "quant4.quantize4_bf16", compute.F16: "quant4.quantize4_f16"}
	grid := min(1<<20, (blocks+quantWarps-1)/quantWarps)
	c.launch(kernel[src.DType()], rows(grid, 32*quantWarps), driver.P(a.Data), driver.P(absmax), driver.P(from), driver.I64(int64(n)),
		driver.I32(int32(dst.Quant.Block)), driver.I32(int32(dst.Quant.Type)))
	if a.Absmax != 0 {
		return
	}
	count := driver.I64(int64(blocks))
	c.launch("quant4.mean_f32", rows(1, 1024), driver.P(a.Offset), driver.P(absmax), count)
	c.launch("quant4.nest4", rows(compute.NestedBlocks(blocks), compute.NestedBlock),
		driver.P(a.Codes), driver.P(a.Nested), driver.P(a.Offset), driver.P(a.Map), driver.P(absmax), count)
}

// quantizeBytes is the workspace of Quantize4: the scales before they are quantised themselves.
func quantizeBytes(w compute.Weight) int64 {
	if w.Quant == nil || w.Quant.Codes == nil {
		return 0
	}
	return 4 * int64(w.Quant.Codes.Len())
}

// scaleArgs are a 4-bit weight's scales as the members of quant4.h's Scales.
func scaleArgs(a check.Quant4[driver.Ptr]) []driver.Arg {
	return []driver.Arg{driver.P(a.Absmax), driver.P(a.Codes), driver.P(a.Nested), driver.P(a.Map), driver.P(a.Offset)}
}

// Dequantize4 writes a 4-bit weight (or one of any other type) as dst, F32 [Out,In]: code book times scale, rounded once.
func (d *Device) Dequantize4(dst compute.Buffer, src compute.Weight) {
	c := d.begin("Dequantize4")
	n := src.Out * src.In
	to := c.F32("dst", dst, src.Out, src.In)
	if src.Quant == nil {
		from := c.Float("W", src.Data, src.Out, src.In)
		switch {
		case !c.OK || n == 0:
		case src.Data.DType() == compute.F32:
			c.copy(to, from, dst)
		default:
			c.cast(to, compute.F32, from, src.Data.DType(), n)
		}
		return
	}
	a := c.Quant4(src)
	if !c.OK || n == 0 {
		return
	}
	args := append([]driver.Arg{driver.P(to), driver.P(a.Data)}, scaleArgs(a)...)
	c.launch("quant4.dequantize4_f32", elements((n+7)/8), append(args, driver.I64(int64(n)), driver.I32(int32(src.Quant.Block)),
		driver.I32(int32(src.Quant.Type)))...)
}

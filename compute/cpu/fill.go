package cpu

// #include "lathe.h"
import "C"

import (
	"unsafe"

	"lathe/compute"
	"lathe/compute/check"
)

// beside is a check of what works beside other goroutines: its error is the caller's, not the device's.
func (d *Device) beside(op string, err *error) *checked {
	return &checked{check.New(op, true, d.find, func(e error) { *err = e }), d}
}

// HostBytes is compute.HostMemory's.
func (d *Device) HostBytes(b compute.Buffer) []byte {
	own, ok := b.(*buffer)
	if !ok || own.dev != d || own.mem.p == nil {
		return nil
	}
	return unsafe.Slice((*byte)(own.address()), compute.ByteLen(b))
}

// FillPart is compute.HostMemory's.
func (d *Device) FillPart(dst compute.Weight, scales compute.Buffer, at int, src compute.Buffer) (err error) {
	c := d.beside("FillPart", &err)
	from := c.Float("src", src, check.Len(src))
	n := check.Len(src)
	c.Want(at >= 0 && at+n <= dst.Out*dst.In, "elements %d to %d of a weight [%d,%d]", at, at+n, dst.Out, dst.In)
	if dst.Quant != nil {
		c.quantizePart(dst, scales, at, src, from)
		return err
	}
	to := c.Float("W", dst.Data, dst.Out, dst.In)
	if c.OK && n > 0 {
		C.lathe_cast_alone(&C.lathe_cast_args{
			dst: unsafe.Add(to, at*dst.Data.DType().Size()), src: from,
			dst_type: C.int(dst.Data.DType()), src_type: C.int(src.DType()), n: C.int64_t(n),
		})
	}
	return err
}

// quantizePart quantises elements of a weight, but for its scales if it is doubly quantised.
func (c *checked) quantizePart(dst compute.Weight, scales compute.Buffer, at int, src compute.Buffer, from unsafe.Pointer) {
	data, q := c.quant4(dst)
	if c.OK && q.absmax == nil {
		q.absmax = c.f32("scales", scales, dst.Quant.Codes.Len())
	}
	if !c.OK || src.Len() == 0 {
		return
	}
	block := dst.Quant.Block
	c.Want(at%block == 0, "a part from element %d on does not begin with a block of %d", at, block)
	c.Want(src.Len()%block == 0 || at+src.Len() == dst.Out*dst.In, "a part of %d elements ends within a block of %d", src.Len(), block)
	if !c.OK {
		return
	}
	args := quantizeArgs(dst, unsafe.Add(data, at/2), q, from, src)
	args.absmax = (*C.float)(unsafe.Add(unsafe.Pointer(q.absmax), at/block*4))
	C.lathe_quantize4_alone(&args)
}

// FillScales is compute.HostMemory's.
func (d *Device) FillScales(dst compute.Weight, scales compute.Buffer) (err error) {
	c := d.beside("FillScales", &err)
	_, q := c.quant4(dst)
	c.Want(q.absmax == nil, "the weight's scales are not quantised")
	if !c.OK {
		return err
	}
	absmax := c.f32("scales", scales, dst.Quant.Codes.Len())
	if c.OK && dst.Quant.Codes.Len() > 0 {
		nest := nestArgs(dst, q, absmax)
		C.lathe_quantize4_nest_alone(&nest)
	}
	return err
}

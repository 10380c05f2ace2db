package cpu

// #include "queue.h"
import "C"

import (
	"fmt"
	"math"
	"unsafe"

	"lathe/compute"
	"lathe/compute/check"
)

// AdamW is compute.Operations' AdamW: each scalar is computed in float64 and rounded once, as PyTorch hands Python's floats
// to float32 kernels.
func (d *Device) AdamW(a compute.AdamW) {
	c := d.begin("AdamW")
	c.Step(a.Step)
	tensors := make([]C.lathe_adamw_tensor, len(a.Tensors))
	for i, t := range a.Tensors {
		name := func(field string) string { return fmt.Sprintf("Tensors[%d].%s", i, field) }
		n := check.Len(t.Param)
		tensors[i] = C.lathe_adamw_tensor{
			param: c.f32(name("Param"), t.Param, n), grad: c.f32(name("Grad"), t.Grad, n),
			m: c.f32(name("M"), t.M, n), v: c.f32(name("V"), t.V, n),
			n: C.int64_t(n), decay: C.float(1 - a.LR*t.WeightDecay),
		}
	}
	if !c.OK || len(tensors) == 0 {
		return
	}
	args := C.lathe_adamw_args{
		ntensors: C.int64_t(len(tensors)), one_minus_beta1: C.float(1 - a.Beta1), beta2: C.float(a.Beta2),
		one_minus_beta2: C.float(1 - a.Beta2), eps: C.float(a.Eps), grad_scale: C.float(a.GradScale),
		step_size:        C.float(a.LR / (1 - math.Pow(a.Beta1, float64(a.Step)))),
		sqrt_correction2: C.float(math.Sqrt(1 - math.Pow(a.Beta2, float64(a.Step)))),
	}
	args.tensors = (*C.lathe_adamw_tensor)(hold(c, tensors))
	if c.OK {
		push(d, C.LATHE_QUEUED_adamw, &args)
	}
}

// AdamW8 is compute.Operations' AdamW8, scalars as AdamW's.
func (d *Device) AdamW8(a compute.AdamW8) {
	c := d.begin("AdamW8")
	c.Step(a.Step)
	args := C.lathe_adamw8_args{
		ntensors: C.int64_t(len(a.Tensors)), m_map: c.f32("Signed", a.Signed, 256), v_map: c.f32("Unsigned", a.Unsigned, 256),
		beta1: C.float(a.Beta1), one_minus_beta1: C.float(1 - a.Beta1), beta2: C.float(a.Beta2), one_minus_beta2: C.float(1 - a.Beta2),
		step_size:        C.float(a.LR / (1 - math.Pow(a.Beta1, float64(a.Step)))),
		sqrt_correction2: C.float(math.Sqrt(1 - math.Pow(a.Beta2, float64(a.Step)))),
		eps:              C.float(a.Eps), grad_scale: C.float(a.GradScale),
	}
	tensors := make([]C.lathe_adamw8_tensor, len(a.Tensors))
	for i, t := range a.Tensors {
		name := func(field string) string { return fmt.Sprintf("Tensors[%d].%s", i, field) }
		n := check.Len(t.Param)
		blocks := (n + compute.AdamW8Block - 1) / compute.AdamW8Block
		tensors[i] = C.lathe_adamw8_tensor{
			param: c.f32(name("Param"), t.Param, n), grad: c.f32(name("Grad"), t.Grad, n),
			m: (*C.uint8_t)(c.Typed(name("M"), t.M, compute.U8, n)), v: (*C.uint8_t)(c.Typed(name("V"), t.V, compute.U8, n)),
			m_absmax: c.f32(name("MAbsmax"), t.MAbsmax, blocks), v_absmax: c.f32(name("VAbsmax"), t.VAbsmax, blocks),
			n: C.int64_t(n), decay: C.float(1 - a.LR*t.WeightDecay),
		}
	}
	if !c.OK || len(tensors) == 0 {
		return
	}
	space := d.workspace(c.Operation(), slotTask, 2*C.LATHE_DYNAMIC_TABLE)
	if space == nil {
		return
	}
	args.m_table, args.v_table = (*C.uint8_t)(space.p), (*C.uint8_t)(unsafe.Add(space.p, C.LATHE_DYNAMIC_TABLE))
	args.tensors = (*C.lathe_adamw8_tensor)(hold(c, tensors))
	push(d, C.LATHE_QUEUED_adamw8, &args)
}

// GlobalNorm is compute.Operations' GlobalNorm.
func (d *Device) GlobalNorm(buffers []compute.Buffer) float64 {
	c, sum := d.begin("GlobalNorm"), 0.0
	for i, b := range buffers {
		n := check.Len(b)
		p := c.f32(fmt.Sprintf("buffer %d", i), b, n)
		if !c.OK {
			return 0
		}
		partial := make([]C.double, (n+C.LATHE_NORM_BLOCK-1)/C.LATHE_NORM_BLOCK)
		space := hold(c, partial)
		if !c.OK || n == 0 {
			continue
		}
		push(d, C.LATHE_QUEUED_square_sum, &C.lathe_square_sum_args{x: p, n: C.int64_t(n), partial: (*C.double)(space)})
		d.Finish()
		for _, s := range cSlice[C.double](space, len(partial)) {
			sum += float64(s)
		}
	}
	return math.Sqrt(sum)
}

// FirstNonFinite is compute.Operations' FirstNonFinite.
func (d *Device) FirstNonFinite(buffers []compute.Buffer) (buffer, index int) {
	c := d.begin("FirstNonFinite")
	for i, b := range buffers {
		n := check.Len(b)
		p := c.f32(fmt.Sprintf("buffer %d", i), b, n)
		if !c.OK {
			return -1, -1
		}
		found := make([]C.int64_t, (n+C.LATHE_NORM_BLOCK-1)/C.LATHE_NORM_BLOCK)
		space := hold(c, found)
		if !c.OK || n == 0 {
			continue
		}
		push(d, C.LATHE_QUEUED_non_finite, &C.lathe_non_finite_args{x: p, n: C.int64_t(n), found: (*C.int64_t)(space)})
		d.Finish()
		for _, at := range cSlice[C.int64_t](space, len(found)) {
			if at >= 0 {
				return i, int(at)
			}
		}
	}
	return -1, -1
}

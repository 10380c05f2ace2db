package cpu

// #include "lathe.h"
import "C"

import (
	"fmt"
	"math"

	"lathe/compute"
)

// AdamW is compute.Operations' AdamW: each scalar is computed in float64 and rounded once, as PyTorch hands Python's floats
// to float32 kernels.
func (d *Device) AdamW(a compute.AdamW) {
	c := d.begin("AdamW")
	c.want(a.Step >= 1, "Step is %d: steps count from 1", a.Step)
	tensors := make([]C.lathe_adamw_tensor, len(a.Tensors))
	for i, t := range a.Tensors {
		name := func(field string) string { return fmt.Sprintf("Tensors[%d].%s", i, field) }
		n := size(t.Param)
		tensors[i] = C.lathe_adamw_tensor{
			param: c.f32(name("Param"), t.Param, n), grad: c.f32(name("Grad"), t.Grad, n),
			m: c.f32(name("M"), t.M, n), v: c.f32(name("V"), t.V, n),
			n: C.int64_t(n), decay: C.float(1 - a.LR*t.WeightDecay),
		}
	}
	if !c.ok || len(tensors) == 0 {
		return
	}
	args := C.lathe_adamw_args{
		ntensors: C.int64_t(len(tensors)), one_minus_beta1: C.float(1 - a.Beta1), beta2: C.float(a.Beta2),
		one_minus_beta2: C.float(1 - a.Beta2), eps: C.float(a.Eps), grad_scale: C.float(a.GradScale),
		step_size:        C.float(a.LR / (1 - math.Pow(a.Beta1, float64(a.Step)))),
		sqrt_correction2: C.float(math.Sqrt(1 - math.Pow(a.Beta2, float64(a.Step)))),
	}
	args.tensors = (*C.lathe_adamw_tensor)(hostToC(c, tensors))
	if c.ok {
		C.lathe_adamw(&args)
	}
}

// GlobalNorm is compute.Operations' GlobalNorm.
func (d *Device) GlobalNorm(buffers []compute.Buffer) float64 {
	c, sum := d.begin("GlobalNorm"), 0.0
	for i, b := range buffers {
		n := size(b)
		p := c.f32(fmt.Sprintf("buffer %d", i), b, n)
		if !c.ok {
			return 0
		}
		partial := make([]C.double, (n+C.LATHE_NORM_BLOCK-1)/C.LATHE_NORM_BLOCK)
		space := hostToC(c, partial)
		if !c.ok || n == 0 {
			continue
		}
		C.lathe_square_sum(&C.lathe_square_sum_args{x: p, n: C.int64_t(n), partial: (*C.double)(space)})
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
		n := size(b)
		p := c.f32(fmt.Sprintf("buffer %d", i), b, n)
		if !c.ok {
			return -1, -1
		}
		found := make([]C.int64_t, (n+C.LATHE_NORM_BLOCK-1)/C.LATHE_NORM_BLOCK)
		space := hostToC(c, found)
		if !c.ok || n == 0 {
			continue
		}
		C.lathe_non_finite(&C.lathe_non_finite_args{x: p, n: C.int64_t(n), found: (*C.int64_t)(space)})
		for _, at := range cSlice[C.int64_t](space, len(found)) {
			if at >= 0 {
				return i, int(at)
			}
		}
	}
	return -1, -1
}

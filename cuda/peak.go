package cuda

import (
	"errors"
	"time"

	"lathe/compute"
)

// Peak is what this GPU reaches at best with the device's own operations.
type Peak struct {
	SGEMM float64 // GFLOP/s of a product of square float32 matrices
	BF16  float64 // the same with bfloat16 operands
	Copy  float64 // GB/s within the device, bytes read and written
}

// MeasurePeak takes the fastest of some runs, of sizes that grow until one takes a millisecond or is as large as it gets.
func (d *Device) MeasurePeak() (p Peak, err error) {
	const largest = 8192
	for _, t := range []compute.DType{compute.F32, compute.BF16} {
		most := largest
		if t == compute.F32 {
			most /= 2
		}
		for n := 256; ; n *= 2 {
			took, err := d.timeSquare(t, n)
			if err != nil {
				return p, err
			}
			if took < time.Millisecond && n < most {
				continue
			}
			rate := 2 * float64(n) * float64(n) * float64(n) / took.Seconds() / 1e9
			if p.BF16 = rate; t == compute.F32 {
				p.SGEMM = rate
			}
			break
		}
	}
	for n := 1 << 20; ; n *= 2 {
		took, err := d.timeCopy(n)
		if err != nil {
			return p, err
		}
		if took >= time.Millisecond || n == 256<<20 {
			p.Copy = 2 * float64(n) / took.Seconds() / 1e9
			return p, nil
		}
	}
}

// timeSquare is the time of a product of square matrices, the weight's in its type.
func (d *Device) timeSquare(t compute.DType, n int) (time.Duration, error) {
	x, errX := d.Alloc(compute.F32, n*n)
	w, errW := d.Alloc(t, n*n)
	y, errY := d.Alloc(compute.F32, n*n)
	defer freeAll(x, w, y)
	if err := errors.Join(errX, errW, errY); err != nil {
		return 0, err
	}
	a := compute.Linear{Y: y, X: x, N: n, W: compute.Weight{Out: n, In: n, Data: w}, Compute: t}
	return d.fastest(func() { d.Linear(a) })
}

func (d *Device) timeCopy(bytes int) (time.Duration, error) {
	from, errFrom := d.Alloc(compute.U8, bytes)
	to, errTo := d.Alloc(compute.U8, bytes)
	defer freeAll(from, to)
	if err := errors.Join(errFrom, errTo); err != nil {
		return 0, err
	}
	return d.fastest(func() { d.Copy(to, from) })
}

// fastest is the least time of three runs after one that is not counted.
func (d *Device) fastest(run func()) (least time.Duration, err error) {
	for i := range 4 {
		took, err := d.Time(run)
		if err != nil {
			return 0, err
		}
		if i == 1 || i > 1 && took < least {
			least = took
		}
	}
	return max(least, 1), nil
}

func freeAll(buffers ...compute.Buffer) {
	for _, b := range buffers {
		if b != nil {
			b.Free()
		}
	}
}

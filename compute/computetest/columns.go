package computetest

import (
	"fmt"
	"math"

	"lathe/compute"
)

// blockCopies: the layouts of fused projections taken apart and put together; what lies beside the block stays.
func blockCopies(b *bench) {
	for _, c := range []struct {
		name                             string
		n, groups, width                 int
		dstWidth, dstAt, srcWidth, srcAt int
	}{
		{"one number", 1, 1, 1, 1, 0, 1, 0},
		{"GPT-NeoX's keys", 7, 5, 20, 20, 0, 60, 20},
		{"Falcon 40B's queries", 5, 2, 3 * 24, 3 * 24, 0, 5 * 24, 0},
		{"Phi-3's values, put together", 67, 1, 129, 515, 386, 129, 0},
		{"many tasks", 501, 3, 63, 70, 7, 189, 65},
		{"nothing", 3, 2, 0, 4, 1, 5, 2},
		{"no row", 0, 2, 3, 4, 1, 5, 2},
	} {
		b.sub(c.name, func(b *bench) {
			src, old := b.normal(c.n*c.groups*c.srcWidth), b.normal(c.n*c.groups*c.dstWidth)
			want := append([]float64(nil), old...)
			for g := range c.n * c.groups {
				for i := range c.width {
					want[g*c.dstWidth+c.dstAt+i] = src[g*c.srcWidth+c.srcAt+i]
				}
			}
			dst := b.put(old)
			args := compute.CopyBlocks{
				Dst: dst, Src: b.put(src), N: c.n, Groups: c.groups, Width: c.width,
				DstWidth: c.dstWidth, DstAt: c.dstAt, SrcWidth: c.srcWidth, SrcAt: c.srcAt,
			}
			b.CopyBlocks(args)
			b.equal("Dst", compute.Download[float32](b.Device, dst), singles(want))
			args.SrcAt = c.srcWidth - c.width + 1
			b.CopyBlocks(args)
			if b.Sync() == nil {
				b.Error("a block beyond its group was copied")
			}
		})
	}
}

// columnScales: forward, accumulated and in place; both gradients.
func columnScales(b *bench) {
	for _, s := range []struct{ n, c int }{{1, 1}, {5, 63}, {3, 65}, {300, 640}} {
		b.sub(fmt.Sprintf("%dx%d", s.n, s.c), func(b *bench) {
			n, c, tol := s.n, s.c, b.tol.Elementwise
			x, scale, old, dy := b.normal(n*c), b.normal(c), b.normal(n*c), b.normal(n*c)
			want, dx, ds := make([]float64, n*c), make([]float64, n*c), b.normal(c)
			oldS := append([]float64(nil), ds...)
			for i := range want {
				want[i], dx[i] = x[i]*scale[i%c], dy[i]*scale[i%c]
				ds[i%c] += dy[i] * x[i]
			}
			X, S, Y := b.put(x), b.put(scale), b.garbage(n*c)
			b.ScaleColumns(compute.ScaleColumns{Y: Y, X: X, S: S, N: n, C: c})
			b.close("Y", Y, want, tol)
			Y = b.put(old)
			b.ScaleColumns(compute.ScaleColumns{Y: Y, X: X, S: S, N: n, C: c, Accumulate: true})
			b.close("accumulated Y", Y, plus(old, 1, want), tol)
			Y = b.put(x)
			b.ScaleColumns(compute.ScaleColumns{Y: Y, X: Y, S: S, N: n, C: c})
			b.close("Y over X", Y, want, tol)

			back := compute.ScaleColumnsBackward{DX: b.garbage(n * c), DY: b.put(dy), X: X, S: S, DS: b.put(oldS), N: n, C: c}
			b.ScaleColumnsBackward(back)
			b.close("DX", back.DX, dx, tol)
			b.close("DS", back.DS, ds, b.tol.Reduction)
			back.DX, back.DS = nil, b.put(oldS)
			b.ScaleColumnsBackward(back)
			b.close("DS alone", back.DS, ds, b.tol.Reduction)
			back.DX, back.DS, back.X = b.garbage(n*c), nil, nil
			b.ScaleColumnsBackward(back)
			b.close("DX alone", back.DX, dx, tol)
			back.DX, back.DS, back.X = back.DY, b.put(oldS), X
			b.ScaleColumnsBackward(back)
			b.close("DX over DY", back.DX, dx, tol)
			b.close("DS beside it", back.DS, ds, b.tol.Reduction)
		})
	}
}

// rowNorms: weights of every type, with and without a low-rank product, over the borders of tiles; squares that overflow.
func rowNorms(b *bench) {
	for _, c := range []linearCase{{in: 1, out: 1, rank: 1}, {in: 63, out: 17, rank: 3}, {in: 65, out: 16, rank: 0}, {in: 256, out: 33, rank: 8}, {in: 700, out: 31, rank: 33}} {
		for _, kind := range weightTypes {
			b.sub(fmt.Sprintf("%dx%d+%d/%s", c.out, c.in, c.rank, kind), func(b *bench) { b.rowNorm(c, kind) })
		}
	}
	b.sub("large", func(b *bench) {
		y := b.garbage(1)
		b.RowNorm(compute.RowNorm{Y: y, W: compute.Weight{Out: 1, In: 2, Data: b.put([]float64{3e30, 4e30})}})
		b.close("Y", y, []float64{5e30}, b.tol.Elementwise)
	})
	b.sub("of nothing", func(b *bench) {
		y := b.garbage(2)
		b.RowNorm(compute.RowNorm{Y: y, W: compute.Weight{Out: 2, In: 0, Data: b.zeros(0)}})
		b.equal("Y", compute.Download[float32](b.Device, y), []float32{0, 0})
	})
}

func (b *bench) rowNorm(c linearCase, kind string) {
	const scale = -1.5
	w, values := b.weight(kind, c.out, c.in)
	args := compute.RowNorm{Y: b.garbage(c.out), W: w}
	norms := func(x []float64) []float64 {
		y := make([]float64, c.out)
		for o := range y {
			row := x[o*c.in : (o+1)*c.in]
			y[o] = math.Sqrt(dot(row, row))
		}
		return y
	}
	b.RowNorm(args)
	b.close("Y", args.Y, norms(values), b.tol.Elementwise)
	if c.rank == 0 {
		return
	}
	u, v := b.normal(c.rank*c.in), b.normal(c.out*c.rank)
	args.Y, args.LowRank = b.garbage(c.out), &compute.LowRank{R: c.rank, U: b.put(u), V: b.put(v), Scale: scale}
	b.RowNorm(args)
	sum := plus(values, scale, matmul(v, c.rank, 1, u, c.in, 1, c.out, c.in, c.rank))
	// an element of the sum may cancel to a small one, a row of one element is such: its error is that of the product
	b.closeScaled("Y of the sum", b.get(args.Y), norms(sum), b.tol.Product, math.Sqrt(float64(c.in*c.rank)))
}

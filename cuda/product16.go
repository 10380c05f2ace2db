package cuda

import (
	"lathe/compute"
	"lathe/cuda/driver"
)

// narrowed is an operand of 16-bit elements as gemm16.h wants it.
type narrowed struct {
	p     driver.Ptr
	ld    int
	width int // of its own part of a row
}

// narrowWidth is the length of a 16-bit operand's rows: whole chunks of 16 bytes.
func narrowWidth(cols int) int { return (cols + 7) / 8 * 8 }

// ready says whether an operand can be multiplied where it lies: it has the type, and rows and address of whole chunks.
func (o operand) ready(t compute.DType) bool { return o.kind == kind(t) && o.aligned(8) }

// joinedLine: joined sums are filled up with zeros to a multiple of so many terms, with which cuBLASLt is fast: an NF4 projection of
// [4096,4096] and LoRA of rank 16 took an H100 0.63 ms with 4,112 terms, and takes 0.34 with 4,160.
const joinedLine = 64

// joins says whether low-rank operands are made more of the main ones' sum, even where B has to be copied for it: that is less to read and
// write than C is for a second product of the library. It looks at sizes alone.
func (p *product) joins() bool { return p.r > 0 && p.forLt() && p.k < 2*p.m }

// lowLength is how many terms the low-rank part of a sum has where it is packed.
func (p *product) lowLength() int {
	switch {
	case p.r == 0:
		return 0
	case p.forLt():
		width := narrowWidth(p.k)
		return (width+p.r+joinedLine-1)/joinedLine*joinedLine - width
	}
	return narrowWidth(p.r)
}

// narrow is where the workspace of a product in 16 bits has its operands, which are not copied where they can be read as they are.
type narrow struct {
	shape      shape
	a, b, u, v narrowed
	parts      driver.Ptr
}

// narrow lays the workspace out. Low-rank operands lie behind the main ones where those are copied: in the same rows where k runs along
// them, in rows of their own where it runs across.
func (p *product) narrow(l *layout) narrow {
	n := narrow{shape: tensor16.choose(p.form, p.m, p.n, p.k, p.r)}
	n.a, n.u = p.place(l, p.a, p.u, p.form != formTN)
	n.b, n.v = p.place(l, p.b, p.v, p.form == formNT)
	if n.shape.parts > 1 {
		n.parts = l.take(n.shape.partBytes(p.m, p.n))
	}
	return n
}

// place finds room for a main operand and its low-rank one.
func (p *product) place(l *layout, main, low operand, along bool) (narrowed, narrowed) {
	width, length := narrowWidth(main.cols), p.lowLength()
	lowRows, lowWidth := length, width
	if along {
		lowRows, lowWidth = main.rows, length
	}
	if main.ready(p.compute) && !p.joins() {
		m := narrowed{p: main.p, ld: main.ld, width: main.cols}
		if p.r == 0 {
			return m, narrowed{}
		}
		return m, narrowed{p: l.take(2 * int64(lowRows) * int64(lowWidth)), ld: lowWidth, width: lowWidth}
	}
	if along {
		ld := width + lowWidth
		at := l.take(2 * int64(main.rows) * int64(ld))
		return narrowed{p: at, ld: ld, width: width}, narrowed{p: at + driver.Ptr(2*width), ld: ld, width: lowWidth}
	}
	at := l.take(2 * int64(main.rows+lowRows) * int64(width))
	return narrowed{p: at, ld: width, width: width}, narrowed{p: at + driver.Ptr(2*main.rows*width), ld: width, width: lowWidth}
}

// joined says whether main and low-rank operands are one product with a longer sum, and how long that is.
func (p *product) joined(n narrow) (bool, int) {
	width := narrowWidth(p.k)
	behind := p.r > 0 && n.u.p == n.a.p+driver.Ptr(2*width)
	if p.form == formNT {
		behind = behind && n.v.p == n.b.p+driver.Ptr(2*width)
	} else {
		behind = behind && p.k == width && n.v.p == n.b.p+driver.Ptr(2*p.k*n.b.ld)
	}
	return behind, width + p.lowLength()
}

// multiply16 multiplies on the tensor cores: operands are made 16 bits wide first, where they are not.
func (c *checked) multiply16(p *product) {
	lt := c.withLt(p) // which may take the workspace itself
	n := c.packed(p, c.layout(p.bytes()))
	if lt && c.multiplyLt(p, n) {
		return
	}
	c.kernel16(p, n)
}

// packed makes a product's operands 16 bits wide, in the workspace that it is given.
func (c *checked) packed(p *product, l *layout) narrow {
	n := p.narrow(l)
	c.pack(n.a, p.a, p.compute, 1)
	c.pack(n.b, p.b, p.compute, 1)
	if p.r > 0 {
		c.pack(n.u, p.u, p.compute, p.ext)
		c.pack(n.v, p.v, p.compute, 1)
		if fill := p.lowLength() - p.r; p.form != formNT {
			c.zero(n.v.p+driver.Ptr(2*p.r*n.v.ld), fill*n.v.ld/2)
		}
	}
	return n
}

// kernel16 multiplies packed operands with lathe's own kernels.
func (c *checked) kernel16(p *product, n narrow) {
	module := "gemm_bf16"
	if p.compute == compute.F16 {
		module = "gemm_f16"
	}
	args := p.result(n.parts)
	for _, piece := range []struct {
		a, b narrowed
		k    int
	}{{n.a, n.b, p.k}, {n.u, n.v, p.r}} {
		args = append(args, driver.P(piece.a.p), driver.I64(int64(piece.a.ld)), driver.P(piece.b.p), driver.I64(int64(piece.b.ld)),
			driver.I32(int32(piece.k)))
	}
	args = append(args, driver.I32(int32(n.shape.steps)))
	c.launch(module+"."+module+"_"+p.form.String()+"_"+n.shape.tile.name(), n.shape.launch(p.m, p.n), args...)
	if n.shape.parts > 1 {
		c.addParts(p, n.parts, n.shape.parts)
	}
}

// pack writes scale times an operand in 16 bits, unless it is used where it lies.
func (c *checked) pack(to narrowed, from operand, t compute.DType, scale float32) {
	if to.p == from.p {
		return
	}
	name := "operands.pack_bf16"
	if t == compute.F16 {
		name = "operands.pack_f16"
	}
	args := []driver.Arg{
		driver.P(to.p), driver.I64(int64(to.ld)), driver.P(from.p), driver.I64(int64(from.ld)), driver.I32(int32(from.kind)), flag(from.aligned(8)),
	}
	args = append(args, from.quant.args()...)
	args = append(args, driver.I64(int64(from.rows)), driver.I32(int32(from.cols)), driver.I32(int32(to.width)), driver.F32(scale))
	c.launch(name, threads(int64(from.rows)*int64(to.width/8)), args...)
}

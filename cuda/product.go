package cuda

import (
	"lathe/compute"
	"lathe/compute/check"
	"lathe/cuda/driver"
)

// operand is a matrix as a product reads it: a weight of any type as it is stored, or float32.
type operand struct {
	p     driver.Ptr
	ld    int // elements from one row to the next
	rows  int // as it is stored
	cols  int
	kind  kind
	quant quant4
}

// kind is what an operand's elements are: operand.h's numbers, the first three of which are compute.DType's.
type kind int32

const (
	kindF32 kind = iota
	kindBF16
	kindF16
	kindQuant4
)

// quant4 is how a 4-bit operand is read: its scales, the logarithm of their block, and the code book.
type quant4 struct {
	check.Quant4[driver.Ptr]
	shift, book int32
}

// args are QUANT4_ARGS of operand.h.
func (q quant4) args() []driver.Arg {
	return append(scaleArgs(q.Quant4), driver.I32(q.shift), driver.I32(q.book))
}

// aligned says whether n elements of a row can be read in one access of at most 16 bytes, wherever a multiple of n begins.
func (o operand) aligned(n int) bool {
	bytes := 4 * n
	switch o.kind {
	case kindF32:
	case kindQuant4:
		bytes = n / 2
	default:
		bytes = 2 * n
	}
	return o.ld%n == 0 && int64(o.p)%int64(min(bytes, 16)) == 0
}

// f32 is a float32 matrix without gaps.
func f32(p driver.Ptr, rows, cols int) operand {
	return operand{p: p, ld: cols, rows: rows, cols: cols}
}

// weightShape is what is known of a weight without a device's memory.
func weightShape(w compute.Weight) operand {
	o := operand{ld: w.In, rows: w.Out, cols: w.In, kind: kindQuant4}
	if w.Quant == nil && w.Data != nil {
		o.kind = kind(w.Data.DType())
	}
	return o
}

// weight is a weight of any type, checked.
func (c *checked) weight(w compute.Weight) operand {
	o := weightShape(w)
	if w.Quant == nil {
		o.p = c.Float("W", w.Data, w.Out, w.In)
		return o
	}
	q := c.Quant4(w)
	if !c.OK {
		return o
	}
	o.p, o.quant = q.Data, quant4{Quant4: q, book: int32(w.Quant.Type)}
	for 1<<o.quant.shift < w.Quant.Block {
		o.quant.shift++
	}
	return o
}

// form says how a product's operands are stored: A [m,k] or [k,m], B [n,k] or [k,n].
type form int

const (
	formNT form = iota // A [m,k], B [n,k]: forward
	formNN             // A [m,k], B [k,n]: the gradient of the input
	formTN             // A [k,m], B [k,n]: the gradient of the weight
)

func (f form) String() string { return [...]string{"nt", "nn", "tn"}[f] }

// product is C[m,n] = alpha·(A·B + ext·U·V) (+ bias) (+ C), with U [m,r] and V stored as B is.
type product struct {
	form       form
	m, n, k    int
	a, b       operand
	r          int
	u, v       operand
	ext, alpha float32
	c, bias    driver.Ptr // rows of n
	accumulate bool
	compute    compute.DType
}

// workspace is what a plan has to hold for multiply: that of the product, and of the library's trial where it may get the product. Whether
// it is installed does not change the plan.
func (p *product) workspace() int64 {
	if p.forLt() {
		return max(p.bytes(), verifyBytes())
	}
	return p.bytes()
}

// bytes is the workspace that the product itself takes.
func (p *product) bytes() int64 {
	l := &layout{}
	if p.compute == compute.F32 {
		p.parts32(l)
	} else {
		p.narrow(l)
	}
	return l.size
}

// layout is the operation's workspace of so many bytes, to be handed out.
func (c *checked) layout(bytes int64) *layout {
	if bytes == 0 {
		return &layout{}
	}
	return &layout{at: c.space(bytes)}
}

// multiply runs a product, unless something before it did not fit.
func (c *checked) multiply(p *product) {
	c.Want(p.compute <= compute.F16, "products in %s were asked for, the device multiplies in float32, bfloat16 and float16", p.compute)
	if !c.OK || p.m == 0 || p.n == 0 {
		return
	}
	if p.compute == compute.F32 {
		c.multiply32(p)
	} else {
		c.multiply16(p)
	}
}

// result are the arguments RESULT_ARGS of a kernel that writes a product, or parts of its sums.
func (p *product) result(parts driver.Ptr) []driver.Arg {
	return []driver.Arg{
		driver.P(p.c), driver.I64(int64(p.n)), driver.I32(int32(p.m)), driver.I32(int32(p.n)), driver.F32(p.alpha), driver.P(p.bias),
		flag(p.accumulate), driver.P(parts),
	}
}

// addParts makes the result of the parts that a product's blocks left.
func (c *checked) addParts(p *product, parts driver.Ptr, count int) {
	quads := int64(p.m) * int64((p.n+3)/4)
	c.launch("operands.add_parts", threads(quads), append(p.result(parts), driver.I32(int32(count)))...)
}

// threads is the grid of a kernel with one thread for each of n pieces of work.
func threads(n int64) driver.Launch {
	return driver.Launch{Grid: [3]int{int((n + blockThreads - 1) / blockThreads), 1, 1}, Block: [3]int{blockThreads, 1, 1}}
}

package cuda

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"

	"lathe/compute"
	"lathe/cuda/cublaslt"
	"lathe/cuda/driver"
)

// ltLeast is the number of multiply-adds from which on a product in 16 bits goes to cuBLASLt where there is one: smaller ones do not fill
// a GPU, and the library splits no sums here. The choice looks at the sizes alone, so that the same run takes the same path.
var ltLeast = 1 << 28

// ltPlans is the most plans that are kept; batches of new lengths make new ones.
const ltPlans = 4096

// lt is the device's cuBLASLt, looked for when a product is large enough for it.
type lt struct {
	library  *cublaslt.Library // nil: none
	tried    bool
	err      error                  // why there is none
	verified map[compute.DType]bool // types whose products were compared with the kernels' own
	plans    map[cublaslt.Product]*cublaslt.Plan
}

// Products says what has multiplied large matrices of 16 bits so far, for reports.
func (d *Device) Products() string {
	switch {
	case !d.lt.tried:
		return "own kernels"
	case d.lt.library == nil:
		return fmt.Sprintf("own kernels (%v)", d.lt.err)
	}
	return fmt.Sprintf("cuBLASLt %d (%s)", d.lt.library.Version(), d.lt.library.Path())
}

// ltCandidates are the libraries to try. A driver that was named is the emulated one, whose memory a real cuBLASLt does not know.
func (o Options) ltCandidates() []string {
	env := os.Getenv
	switch {
	case o.CublasLt == "" && env(cublaslt.EnvPath) == "" && (o.Driver != "" || env(driver.EnvPath) != ""):
		return nil
	case o.CublasLt != "":
		return cublaslt.Candidates(func(name string) string {
			if name == cublaslt.EnvPath {
				return o.CublasLt
			}
			return env(name)
		})
	}
	return cublaslt.Candidates(env)
}

// forLt says whether a product is one that the library may get.
func (p *product) forLt() bool { return p.compute != compute.F32 && p.m*p.n*(p.k+p.r) >= ltLeast }

// withLt says whether a product goes to cuBLASLt.
func (c *checked) withLt(p *product) bool {
	d := c.d
	if !c.OK || !p.forLt() {
		return false
	}
	if !d.lt.tried {
		d.lt.tried = true
		d.lt.err = d.ctx.With(func() (err error) {
			d.lt.library, err = cublaslt.Open(d.options.ltCandidates())
			return err
		})
		d.lt.verified, d.lt.plans = map[compute.DType]bool{}, map[cublaslt.Product]*cublaslt.Plan{}
	}
	if d.lt.library != nil && !d.lt.verified[p.compute] {
		d.lt.verified[p.compute] = true
		if err := c.verifyLt(p.compute); err != nil {
			d.lt.err = err
			d.closeLt()
		}
	}
	return d.lt.library != nil
}

// closeLt gives the library's plans and handle back; products are multiplied by own kernels from then on.
func (d *Device) closeLt() {
	if d.lt.library == nil {
		return
	}
	_ = d.ctx.With(func() error {
		d.dropPlans()
		return d.lt.library.Close()
	})
	d.lt.library = nil
}

func (d *Device) dropPlans() {
	for _, p := range d.lt.plans {
		if p != nil {
			p.Close()
		}
	}
	clear(d.lt.plans)
}

// ltCall is one of the library's products: k terms of a and b, C scaled by beta before.
type ltCall struct {
	plan *cublaslt.Plan
	a, b driver.Ptr
	beta float32
	bias driver.Ptr
}

// multiplyLt multiplies packed operands, or answers false where the library has no algorithm. Where the low-rank operands lie behind the
// main ones it is one product of a longer sum, otherwise two.
func (c *checked) multiplyLt(p *product, n narrow) bool {
	if !c.OK {
		return false
	}
	beta, k := float32(0), p.k
	if p.accumulate {
		beta = 1
	}
	second := p.r > 0
	if joined, all := p.joined(n); joined {
		k, second = all, false
	}
	err := c.d.ctx.With(func() error {
		var calls []ltCall
		add := func(a, b narrowed, k int, beta float32, bias driver.Ptr) {
			if plan := c.d.plan(p, a, b, k, bias); plan != nil {
				calls = append(calls, ltCall{plan, a.p, b.p, beta, bias})
			}
		}
		if add(n.a, n.b, k, beta, p.bias); second {
			add(n.u, n.v, p.r, 1, 0)
		}
		if len(calls) == 0 || second && len(calls) < 2 {
			return cublaslt.ErrNoAlgorithm
		}
		for _, l := range calls {
			if err := l.plan.Run(p.alpha, l.beta, uint64(l.a), uint64(l.b), uint64(p.c), uint64(l.bias), uintptr(c.d.stream)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil && !errors.Is(err, cublaslt.ErrNoAlgorithm) {
		c.Fail("%w (%s=off does without the library)", err, cublaslt.EnvPath)
	}
	return err == nil
}

// plan is the library's plan for a piece of a product, nil where it has none.
func (d *Device) plan(p *product, a, b narrowed, k int, bias driver.Ptr) *cublaslt.Plan {
	key := cublaslt.Product{
		M: p.m, N: p.n, K: k, AAcross: p.form == formTN, BAlong: p.form == formNT, LdA: a.ld, LdB: b.ld, LdC: p.n, Type: cublaslt.BF16,
		Bias: bias != 0, AlignC: int((p.c | bias | 256) & -(p.c | bias | 256)),
	}
	if p.compute == compute.F16 {
		key.Type = cublaslt.F16
	}
	plan, ok := d.lt.plans[key]
	if !ok {
		if len(d.lt.plans) >= ltPlans {
			d.dropPlans()
		}
		plan, _ = d.lt.library.Plan(key) // what it refuses, own kernels multiply
		d.lt.plans[key] = plan
	}
	return plan
}

// The shape of the products that verifyLt compares.
const verifyM, verifyN, verifyK, verifyR = 136, 264, 320, 16

// verification is where verifyLt's numbers lie in the workspace, and what is left of that for the products' packed operands.
type verification struct {
	a, u, bias, own, other driver.Ptr
	rest                   layout
}

func layVerification(l *layout) (v verification) {
	v.a, v.u, v.bias = l.take(4*(verifyM+verifyN)*verifyK), l.take(4*(verifyM+verifyN)*verifyR), l.take(4*verifyN)
	v.own, v.other = l.take(4*verifyM*verifyN), l.take(4*verifyM*verifyN)
	v.rest.at = l.at + driver.Ptr(l.size)
	return v
}

// verifyBytes is the workspace of verifyLt, which a plan holds for each product that may go to the library: what the library is compared
// with must not take memory that nobody planned.
func verifyBytes() int64 {
	var l layout
	layVerification(&l)
	most := int64(0)
	for _, p := range exampleProducts(0, 0) {
		most = max(most, p.bytes())
	}
	return l.size + most
}

// verifyLt compares products of small whole numbers, which are exact in every order, with those of own kernels: a library that is broken,
// or that this package misunderstands, must not train.
func (c *checked) verifyLt(t compute.DType) error {
	d, random := c.d, rand.New(rand.NewPCG(1, 1))
	v := layVerification(c.layout(verifyBytes()))
	for _, x := range []struct {
		at    driver.Ptr
		count int
	}{{v.a, (verifyM + verifyN) * verifyK}, {v.u, (verifyM + verifyN) * verifyR}, {v.bias, verifyN}, {v.own, verifyM * verifyN}} {
		numbers := make([]float32, x.count)
		for i := range numbers {
			numbers[i] = float32(random.IntN(5) - 2)
		}
		c.copyIn(x.at, compute.Bytes(numbers))
	}
	own, other := make([]float32, verifyM*verifyN), make([]float32, verifyM*verifyN)
	for _, p := range exampleProducts(v.a, v.u) {
		for _, accumulate := range []bool{false, true} {
			p.compute, p.bias, p.accumulate, p.c = t, v.bias, accumulate, v.own
			q := p
			q.c = v.other
			c.copyWithin(v.other, v.own, 4*verifyM*verifyN)
			rest := v.rest
			c.kernel16(&p, c.packed(&p, &rest))
			rest = v.rest
			done := c.multiplyLt(&q, c.packed(&q, &rest))
			c.copyOut(own, v.own)
			c.copyOut(other, v.other)
			if !c.OK || !done || !slices.Equal(own, other) {
				return fmt.Errorf("%s: its products in %s are not those of own kernels", d.lt.library.Path(), t)
			}
		}
	}
	return nil
}

// exampleProducts are products of each layout in 16 bits.
func exampleProducts(a, u driver.Ptr) (list []product) {
	for _, f := range []form{formNT, formNN, formTN} {
		p := exampleProduct(f, verifyM, verifyN, verifyK, verifyR, a, u)
		p.compute = compute.BF16
		list = append(list, p)
	}
	return list
}

// exampleProduct is a product of a layout with operands one behind the other.
func exampleProduct(f form, m, n, k, r int, a, u driver.Ptr) product {
	p := product{form: f, m: m, n: n, k: k, r: r, alpha: 1, ext: 1, a: f32(a, m, k), u: f32(u, m, r)}
	b, v := a+driver.Ptr(4*m*k), u+driver.Ptr(4*m*r)
	switch f {
	case formNT:
		p.b, p.v = f32(b, n, k), f32(v, n, r)
	case formNN:
		p.b, p.v = f32(b, k, n), f32(v, r, n)
	case formTN:
		p.a, p.b, p.r = f32(a, k, m), f32(b, k, n), 0
	}
	return p
}

package cublaslt

import (
	"errors"
	"unsafe"
)

// Type is the type of the operands, cudaDataType's number.
type Type int32

// The types of operands; the result is float32, and so is the sum.
const (
	F16  Type = 2  // CUDA_R_16F
	BF16 Type = 14 // CUDA_R_16BF
)

// Product is C[m,n] = alpha·A·B + beta·C (+ bias[n]) of row-major matrices. A is stored [m,k], or [k,m] where AAcross; B is stored [k,n], or
// [n,k] where BAlong. It is comparable: a key for plans.
type Product struct {
	M, N, K         int
	AAcross, BAlong bool
	LdA, LdB, LdC   int // elements from one row to the next, as stored
	Type            Type
	Bias            bool
	AlignC          int // a power of two of bytes that C's and the bias's addresses are multiples of; A's and B's are of 16
}

// Plan is a product with the algorithm that the library has chosen for it.
type Plan struct {
	l             *Library
	desc, a, b, c uintptr
	algorithm     [8]uint64
}

// ErrNoAlgorithm is what Plan answers where the library has none for a product.
var ErrNoAlgorithm = errors.New("cuBLASLt has no algorithm for this product")

// Attributes and values of cublasLt.h.
const (
	computeF32   = 68 // CUBLAS_COMPUTE_32F
	realF32      = 0  // CUDA_R_32F
	transposed   = 1  // CUBLAS_OP_T
	epilogueBias = 4

	descTransA      = 3
	descTransB      = 4
	descEpilogue    = 7
	descBiasPointer = 8

	prefReductions = 3 // CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK
	prefAlignA     = 5 // and B, C, D after it
	prefNoneSplit  = 0 // CUBLASLT_REDUCTION_SCHEME_NONE; the workspace's default is none, too
)

// heuristicResult is cublasLtMatmulHeuristicResult_t.
type heuristicResult struct {
	algorithm [8]uint64
	workspace uint64
	state     int32
	waves     float32
	_         [4]int32
}

// Plan chooses an algorithm. The library's matrices are column-major: the row-major C[m,n] is its [n,m], the product of B as its first
// operand and A as its second.
func (l *Library) Plan(p Product) (*Plan, error) {
	plan := &Plan{l: l}
	s := steps{}
	s.do("cublasLtMatmulDescCreate", call(l.descCreate, uintptr(unsafe.Pointer(&plan.desc)), computeF32, realF32))
	s.set(l.descSet, plan.desc, descTransA, flag(p.BAlong))
	s.set(l.descSet, plan.desc, descTransB, flag(p.AAcross))
	if p.Bias {
		s.set(l.descSet, plan.desc, descEpilogue, epilogueBias)
	}
	layout := func(to *uintptr, t Type, rows, columns, ld int) {
		s.do("cublasLtMatrixLayoutCreate", call(l.layoutCreate, uintptr(unsafe.Pointer(to)), uintptr(t), uintptr(rows), uintptr(columns), uintptr(ld)))
	}
	aRows, aColumns := stored(p.M, p.K, p.AAcross)
	bRows, bColumns := stored(p.K, p.N, p.BAlong)
	layout(&plan.a, p.Type, aColumns, aRows, p.LdA)
	layout(&plan.b, p.Type, bColumns, bRows, p.LdB)
	layout(&plan.c, realF32, p.N, p.M, p.LdC)
	if s.err == nil {
		s.err = plan.choose(p)
	}
	if s.err != nil {
		plan.Close()
		return nil, s.err
	}
	return plan, nil
}

// choose asks the library for its best algorithm.
func (p *Plan) choose(product Product) error {
	l, s := p.l, steps{}
	var pref uintptr
	s.do("cublasLtMatmulPreferenceCreate", call(l.prefCreate, uintptr(unsafe.Pointer(&pref))))
	if s.err != nil {
		return s.err
	}
	defer call(l.prefDestroy, pref)
	s.set(l.prefSet, pref, prefReductions, prefNoneSplit)
	align := int32(min(product.AlignC, 256))
	for i, bytes := range [4]int32{16, 16, align, align} {
		s.set(l.prefSet, pref, prefAlignA+uintptr(i), bytes)
	}
	var best heuristicResult
	var found int32
	s.do("cublasLtMatmulAlgoGetHeuristic", call(l.heuristic, l.handle, p.desc, p.b, p.a, p.c, p.c, pref, 1,
		uintptr(unsafe.Pointer(&best)), uintptr(unsafe.Pointer(&found))))
	if s.err != nil {
		return s.err
	}
	if found == 0 || best.state != 0 || best.workspace != 0 {
		return ErrNoAlgorithm
	}
	p.algorithm = best.algorithm
	return nil
}

// Run starts the product on a stream of the current context, whose addresses these are.
func (p *Plan) Run(alpha, beta float32, a, b, c, bias uint64, stream uintptr) error {
	if bias != 0 {
		if err := status("cublasLtMatmulDescSetAttribute",
			call(p.l.descSet, p.desc, descBiasPointer, uintptr(unsafe.Pointer(&bias)), unsafe.Sizeof(bias))); err != nil {
			return err
		}
	}
	return status("cublasLtMatmul", call(p.l.matmul, p.l.handle, p.desc, uintptr(unsafe.Pointer(&alpha)), uintptr(b), p.b, uintptr(a), p.a,
		uintptr(unsafe.Pointer(&beta)), uintptr(c), p.c, uintptr(c), p.c, uintptr(unsafe.Pointer(&p.algorithm)), 0, 0, stream))
}

// Close gives the descriptors back.
func (p *Plan) Close() {
	for _, d := range []struct{ destroy, what uintptr }{
		{p.l.layoutDestroy, p.a}, {p.l.layoutDestroy, p.b}, {p.l.layoutDestroy, p.c}, {p.l.descDestroy, p.desc},
	} {
		if d.what != 0 {
			call(d.destroy, d.what)
		}
	}
}

// stored are the rows and columns that a matrix [rows,columns] is kept with, row-major.
func stored(rows, columns int, across bool) (r, c int) {
	if across {
		return columns, rows
	}
	return rows, columns
}

func flag(on bool) int32 {
	if on {
		return transposed
	}
	return 0
}

// steps remembers the first call that failed.
type steps struct{ err error }

func (s *steps) do(name string, code int32) {
	if s.err == nil {
		s.err = status(name, code)
	}
}

// set sets a 32-bit attribute.
func (s *steps) set(fn, of, attribute uintptr, value int32) {
	if s.err == nil {
		s.do("cublasLt…SetAttribute", call(fn, of, attribute, uintptr(unsafe.Pointer(&value)), unsafe.Sizeof(value)))
	}
}

package main

import (
	"errors"
	"fmt"
	"strings"

	"lathe/compute"
	"lathe/cuda/driver"
)

// cost is what a launch has to compute and to move between the GPU's memory and its multiprocessors, each byte once: the caches are
// taken for large enough.
type cost struct {
	role    role
	tensor  float64 // operations on tensor cores that the result needs
	padded  float64 // those that are done: tiles are whole
	float   float64 // operations in float32
	model   float64 // of tensor and float, what a training step needs however it is done: products of the gradient, no recomputation
	acts    float64 // bytes of float32 activations and of their gradients
	weights float64 // bytes of a product's weights
	rest    float64 // bytes of all else
	shared  float64 // bytes in and out of shared memory, of products on tensor cores
	rows    int     // of a product's activations
	again   bool    // an operand that the product before had packed already
}

func (c cost) bytes() float64 { return c.acts + c.weights + c.rest }

// role is what a launch is for.
type role string

const (
	product     role = "products, tensor cores"
	lowRank     role = "products, float32 (LoRA's inner ones)"
	addParts    role = "sums of products cut over k"
	packActs    role = "activations to bf16"
	packWeights role = "weights to bf16 (dequantisation)"
	attention   role = "attention, products"
	packHeads   role = "attention, operands to bf16, delta"
	norms       role = "RMSNorm"
	rotary      role = "RoPE"
	gated       role = "SwiGLU"
	copies      role = "copies, sums, fills"
	loss        role = "softmax of the loss"
	tables      role = "embedding"
	optimiser   role = "AdamW and the norm"
)

var roles = []role{product, lowRank, addParts, packActs, packWeights, attention, packHeads, norms, rotary, gated, copies, loss, tables, optimiser}

// launch is a call with its arguments by place, as package cuda passes them.
type launch struct{ driver.Call }

func (l launch) int(i int) float64  { return float64(int32(l.Args[i])) }
func (l launch) long(i int) float64 { return float64(int64(l.Args[i])) }
func (l launch) has(i int) bool     { return l.Args[i] != 0 }
func (l launch) set(i int) float64  { return float64(l.Args[i] & 1) }
func (l launch) grid(i int) float64 { return float64(l.Launch.Grid[i]) }

// costs are the kernels of a training step; a name that ends in _ is the beginning of several, of which the longest counts.
var costs = map[string]func(*recorder, launch) cost{
	"memset":            func(_ *recorder, l launch) cost { return cost{role: copies, rest: float64(l.Bytes)} },
	"memcpy":            func(_ *recorder, l launch) cost { return cost{role: copies, acts: 2 * float64(l.Bytes)} },
	"gemm_bf16_":        gemm16,
	"gemm_f16_":         gemm16,
	"gemm_f32_":         gemm32,
	"gemm_any_":         gemm32,
	"add_parts":         parts,
	"pack_":             (*recorder).pack,
	"rms_norm":          func(_ *recorder, l launch) cost { return each(norms, l.long(4)*l.int(5), 2, 0) },
	"rms_norm_backward": func(_ *recorder, l launch) cost { return each(norms, l.long(5)*l.int(6), 3+l.set(8), 0) },
	"column_sums":       func(_ *recorder, l launch) cost { return each(norms, l.long(6)*l.int(8), 2, 4*l.grid(1)*l.int(8)) },
	"add_chunks":        func(_ *recorder, l launch) cost { return each(norms, 0, 0, 4*(l.int(2)+2)*l.int(3)) },
	"rope": func(_ *recorder, l launch) cost {
		return each(rotary, l.long(4)*2*l.int(7), 2, 8*l.long(4)/l.int(5)*l.int(7))
	},
	"gated":              func(_ *recorder, l launch) cost { return each(gated, l.long(3), 3, 0) },
	"gated_backward":     func(_ *recorder, l launch) cost { return each(gated, l.long(5), 5, 0) },
	"add_f32":            func(_ *recorder, l launch) cost { return each(copies, l.long(4), 3, 0) },
	"cross_entropy":      func(_ *recorder, l launch) cost { return each(loss, l.grid(0)*l.long(3), 4, 0) },
	"embedding_bf16":     func(_ *recorder, l launch) cost { return each(tables, l.long(3)*l.int(4), 1, 2*l.long(3)*l.int(4)) },
	"embedding_f32":      func(_ *recorder, l launch) cost { return each(tables, l.long(3)*l.int(4), 2, 0) },
	"embedding_backward": func(_ *recorder, l launch) cost { return each(tables, l.int(4)*l.int(5), 3, 0) },
	"sort_ids": func(_ *recorder, l launch) cost {
		return cost{role: tables, rest: 12 * l.int(3), float: l.int(3) * l.int(3)}
	},
	"attention_spans":      func(*recorder, launch) cost { return cost{role: packHeads} },
	"attention_delta":      func(r *recorder, _ launch) cost { return each(packHeads, r.queries(), 2, 0) },
	"attention_pack_keys_": func(r *recorder, _ launch) cost { return each(packHeads, 2*r.keys(), 1, 4*r.keys()) },
	"attention_pack_rows_": func(r *recorder, _ launch) cost { return each(packHeads, 2*r.queries(), 1, 4*r.queries()) },
	"attention_forward_":   func(r *recorder, l launch) cost { return r.attend(l, 2, 2, r.queries()) },
	"attention_keys_":      func(r *recorder, l launch) cost { return r.attend(l, 4, 4, 2*r.keys()) },
	"attention_queries_":   func(r *recorder, l launch) cost { return r.attend(l, 3, 0, r.queries()) },
	"square_sums":          func(r *recorder, _ launch) cost { return cost{role: optimiser, rest: 4 * r.trained} },
	"adamw":                func(r *recorder, _ launch) cost { return cost{role: optimiser, rest: 28 * r.trained} },
}

// each reads or writes so many float32 activations for each of n elements, and so many bytes beside. A few operations an element are far
// below what the bytes take.
func each(r role, n, accesses, beside float64) cost {
	return cost{role: r, acts: 4 * n * accesses, rest: beside}
}

var errNoCost = errors.New("has no cost in tools/roofline/cost.go")

func (r *recorder) costOf(c driver.Call) (cost, error) {
	best := ""
	for name := range costs {
		if (c.Kernel == name || strings.HasSuffix(name, "_") && strings.HasPrefix(c.Kernel, name)) && len(name) > len(best) {
			best = name
		}
	}
	if best == "" {
		return cost{}, fmt.Errorf("kernel %s %w", c.Kernel, errNoCost)
	}
	k := costs[best](r, launch{c})
	r.fresh.after(launch{c}, k.role)
	return k, nil
}

// result is what RESULT_ARGS (arguments 0 to 7: c, ldc, m, n, alpha, bias, accumulate, parts) write: the result, or parts of its sums.
func (l launch) result(c *cost) {
	m, n := l.int(2), l.int(3)
	if l.has(7) {
		c.rest += 4 * m * n * l.grid(1)
	} else {
		c.acts += 4 * m * n * (1 + l.set(6))
	}
	c.rows = int(m)
}

// gemm16: arguments 8 to 17 are a, lda, b, ldb, k and u, ldu, v, ldv, r. The tile's size ends the name.
func gemm16(_ *recorder, l launch) cost {
	m, n, k, r := l.int(2), l.int(3), l.int(12), l.int(17)
	var high, wide float64
	_, size, _ := strings.Cut(l.Kernel[strings.LastIndexByte(l.Kernel, '_'):], "_")
	if _, err := fmt.Sscanf(size, "%fx%f", &high, &wide); err != nil {
		panic(fmt.Sprintf("kernel %s does not end in its tile", l.Kernel))
	}
	const depth = 32 // of a step
	steps := ceil(k, depth) + ceil(r, depth)
	c := cost{role: product, tensor: 2 * m * n * (k + r), model: 2 * m * n * (k + r), weights: 2 * n * k, rest: 2 * (m*k + (m+n)*r)}
	c.padded = 2 * l.grid(0) * high * wide * steps * depth
	c.shared = c.padded / 2 * sharedOf(l.Kernel)
	l.result(&c)
	return c
}

// gemm32: arguments 8 to 13 are a, lda, b, ldb, kind and k, 14 to 20 a 4-bit B's, 26 the rank.
func gemm32(_ *recorder, l launch) cost {
	m, n, k, r := l.int(2), l.int(3), l.int(13), l.int(26)
	c := cost{role: lowRank, float: 2 * m * n * (k + r), model: 2 * m * n * (k + r), rows: int(m)}
	switch {
	case strings.Contains(l.Kernel, "_tn_"): // gradients of a weight: both operands are activations
		c.acts = 4 * k * (m + n)
		c.rest = 4 * m * n * 2
		return c
	default:
		c.acts, c.weights = 4*m*k, elementBytes(l, 12, 14)*n*k
	}
	c.rest += 4 * r * (m + n)
	l.result(&c)
	return c
}

// parts: RESULT_ARGS and the number of parts.
func parts(_ *recorder, l launch) cost {
	n := l.int(2) * l.int(3)
	return cost{role: addParts, acts: 4 * n * (1 + l.set(6)), rest: 4 * n * l.int(8)}
}

// elementBytes is the size of an operand's element by argument kind; scales are the arguments from quant on: absmax, codes, nested, …
func elementBytes(l launch, kind, quant int) float64 {
	switch l.int(kind) {
	case 0:
		return 4
	case 1, 2:
		return 2
	}
	scales := 4. / compute.QuantBlock
	if !l.has(quant) {
		scales = (1 + 4./compute.NestedBlock) / compute.QuantBlock
	}
	return .5 + scales
}

// pack: arguments to, ld, from, ld, kind, vec, seven of a 4-bit operand, rows, columns, width.
func (r *recorder) pack(l launch) cost {
	rows, cols, width := l.long(13), l.int(14), l.int(15)
	c := cost{role: packActs, rest: 2 * rows * width, again: r.fresh.has(l)}
	if l.Args[2] > r.marked {
		c.acts = 4 * rows * cols
	} else {
		c.role, c.weights = packWeights, elementBytes(l, 4, 6)*rows*cols
	}
	return c
}

// packed are the operands that were packed since something other than a product ran.
type packed map[[3]uint64]bool

func packKey(l launch) [3]uint64 { return [3]uint64{l.Args[2], l.Args[13], l.Args[14]} }

func (p packed) has(l launch) bool { return p[packKey(l)] }

func (p *packed) after(l launch, r role) {
	switch r {
	case packActs, packWeights:
		if *p == nil {
			*p = packed{}
		}
		(*p)[packKey(l)] = true
	case product, lowRank, addParts:
		for key := range *p {
			if key[0] == l.Args[0] {
				delete(*p, key)
			}
		}
	default:
		*p = nil
	}
}

// attend is an attention's kernel with so many products of [queries, keys, D], of which the model needs some, and so many elements
// written. All read Q, K and V, those of the backward pass the gradient of the result too.
func (r *recorder) attend(l launch, products, needed, written float64) cost {
	s := r.op.attention
	pairs := 0.
	for _, p := range s.Spans {
		pairs += float64(p.QLen) * float64(p.KLen)
		if !s.NoCausal {
			pairs -= float64(p.QLen) * float64(p.QLen-1) / 2
		}
	}
	one := 2 * pairs * float64(s.H*s.D)
	// beyond the pairs that are seen, tiles hold some more; with thousands of keys they are few
	c := cost{role: attention, model: needed * one, acts: 4 * written}
	wide, narrow := 0., 2*r.queries()+2*r.keys()
	if products == 2 { // forward, which rounds Q itself
		wide, narrow = r.queries(), 2*r.keys()
	}
	if strings.Contains(l.Kernel, "_f32_") {
		c.float, c.acts = products*one, c.acts+4*(wide+narrow)
	} else {
		c.tensor, c.padded, c.acts, c.rest = products*one, products*one, c.acts+4*wide, 2*narrow
		c.shared = c.padded / 2 * sharedOf(l.Kernel)
	}
	return c
}

func (r *recorder) queries() float64 {
	s := r.op.attention
	return float64(s.NQ) * float64(s.H*s.D)
}

func (r *recorder) keys() float64 {
	s := r.op.attention
	return float64(s.NK) * float64(s.KV*s.D)
}

func ceil(n, size float64) float64 { return float64((int(n) + int(size) - 1) / int(size)) }

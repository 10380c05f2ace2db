package main

import "strings"

// A warp multiplies by mma.sync tiles of 16×16 and 16×8 that it has loaded from shared memory, 512 bytes by one ldmatrix.
const (
	loadBytes = 512
	mmaMACs   = 16 * 8 * 16
)

// warpTile is what a warp computes at a time: so many of 16 rows and of 8 columns. A resident tile has its left operand in registers.
type warpTile struct {
	rows, columns int
	resident      bool
}

// loads is the ldmatrix for an mma: of both operands, each once for all that it meets.
func (w warpTile) loads() float64 {
	right := float64(w.columns) / 2
	if w.resident {
		return right / float64(w.rows*w.columns)
	}
	return (float64(w.rows) + right) / float64(w.rows*w.columns)
}

// tiled is a kernel's tile: the products that a warp makes of each step, and the bytes that cp.async brings for a multiply-add.
type tiled struct {
	products []warpTile
	brought  float64
}

// brought is what a block of high×wide copies for a multiply-add, where depth is one for both operands.
func brought(high, wide float64) float64 { return 2 * (high + wide) / (high * wide) }

// tiles are gemm16.h's kernels by the tile that ends their names, and attention's of heads of 128 (attention_plan.go, narrowTiles): forward
// 128 rows, backward 64 keys or rows, 32 of what they walk over at a time.
var tiles = map[string]tiled{
	"128x256": {[]warpTile{{rows: 4, columns: 8}}, brought(128, 256)},
	"128x128": {[]warpTile{{rows: 4, columns: 8}}, brought(128, 128)},
	"64x64":   {[]warpTile{{rows: 2, columns: 4}}, brought(64, 64)},
	// K and V come, for Q·Kᵀ and P·V: 2 matrices of 16 bits, 2 products
	"attention_forward_": {[]warpTile{{rows: 2, columns: 4}, {rows: 2, columns: 16, resident: true}}, 2. * 2 / (2 * 128)},
	// Q and dO come, for K·Qᵀ, V·dOᵀ, Pᵀ·dO, dSᵀ·Q
	"attention_keys_": {[]warpTile{{rows: 1, columns: 4}, {rows: 1, columns: 4}, {rows: 1, columns: 16, resident: true}, {rows: 1, columns: 16, resident: true}}, 2. * 2 / (4 * 64)},
	// K and V come, for Q·Kᵀ, dO·Vᵀ, dS·K
	"attention_queries_": {[]warpTile{{rows: 1, columns: 4}, {rows: 1, columns: 4}, {rows: 1, columns: 16, resident: true}}, 2. * 2 / (3 * 64)},
}

func tileOf(kernel string) tiled {
	for name, t := range tiles {
		if strings.HasPrefix(kernel, name) || strings.HasPrefix(kernel, "gemm_") && strings.HasSuffix(kernel, "_"+name) {
			return t
		}
	}
	panic("kernel " + kernel + " has no tile in tools/roofline/shared.go")
}

// loads is the ldmatrix for an mma over all products, which are of one size.
func (t tiled) loads() (mean float64) {
	for _, p := range t.products {
		mean += p.loads() / float64(len(t.products))
	}
	return mean
}

// sharedOf is the bytes of shared memory that a kernel moves for a multiply-add.
func sharedOf(kernel string) float64 {
	t := tileOf(kernel)
	return t.loads()*loadBytes/mmaMACs + t.brought
}

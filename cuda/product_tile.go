package cuda

import (
	"fmt"

	"lathe/cuda/driver"
)

// tile is a kernel's block: it computes m×n of a product with so many threads.
type tile struct {
	m, n, depth int // depth is k of a step
	threads     int
	shared      int     // bytes of dynamic shared memory
	speed       float64 // multiply-adds a clock of a multiprocessor that is full of such blocks, against the largest tile's
}

func (t tile) name() string { return fmt.Sprintf("%dx%d", t.m, t.n) }

// engine is a set of kernels that differ in their tiles.
type engine struct {
	rate  float64 // multiply-adds a clock of a multiprocessor
	tiles []tile
}

// The speeds are estimates, from the shared memory that a tile reads for a multiply-add.
var (
	// tensor16 are gemm16.h's kernels.
	tensor16 = engine{rate: 1024, tiles: []tile{
		{m: 128, n: 256, depth: 32, threads: 256, shared: 4 * (128 + 256) * 64, speed: 1},
		{m: 128, n: 128, depth: 32, threads: 128, shared: 3 * (128 + 128) * 64, speed: .9},
		{m: 64, n: 64, depth: 32, threads: 128, shared: 4 * (64 + 64) * 64, speed: .6},
	}}
	// simt32 are gemm32.cu's kernels; the tiles that are wider than high exist for formTN only.
	simt32 = engine{rate: 128, tiles: []tile{
		{m: 128, n: 128, depth: 8, threads: 256, speed: .8},
		{m: 64, n: 64, depth: 16, threads: 256, speed: .6},
		{m: 128, n: 32, depth: 16, threads: 256, speed: .55},
		{m: 128, n: 16, depth: 16, threads: 128, speed: .5},
		{m: 32, n: 128, depth: 16, threads: 256, speed: .55},
		{m: 16, n: 128, depth: 16, threads: 128, speed: .5},
	}}
	// any32 are those of gemm32.cu that take a B of any type.
	any32 = engine{rate: 128, tiles: []tile{{m: 64, n: 64, depth: 16, threads: 256, speed: .5}}}
)

// shape is how a product is cut: tiles of C, and parts of the sum over k.
type shape struct {
	tile  tile
	steps int // of a part
	parts int
}

// The model of a GPU that the choice is made for, whichever it runs on: sums must not depend on how many multiprocessors there are.
const (
	modelSMs     = 132
	blockClocks  = 1500 // before a block's first multiply-add and after its last one
	launchClocks = 4000 // of the kernel that adds parts
	byteClocks   = 1. / 32
)

// choose looks for the cut that takes the fewest clocks for C[m,n] and sums of k and then r terms.
func (e engine) choose(f form, m, n, k, r int) shape {
	var best shape
	least := 0.0
	for _, t := range e.tiles {
		if t.m < min(t.n, 64) && f != formTN {
			continue
		}
		count, steps := blocks(m, t.m)*blocks(n, t.n), max(1, blocks(k, t.depth)+blocks(r, t.depth))
		for parts := 1; parts <= maxParts && (parts == 1 || steps/parts*t.depth >= leastDepth && count*(parts-1) <= 4*modelSMs); parts++ {
			s := shape{tile: t, steps: blocks(steps, parts), parts: parts}
			if blocks(steps, s.steps) != parts {
				continue
			}
			if clocks := e.clocks(s, m, n, count); best.parts == 0 || clocks < least {
				best, least = s, clocks
			}
		}
	}
	return best
}

// clocks is how long the model GPU takes.
func (e engine) clocks(s shape, m, n, tiles int) float64 {
	waves := float64(blocks(tiles*s.parts, modelSMs))
	clocks := waves * (float64(s.tile.m*s.tile.n*s.steps*s.tile.depth)/(e.rate*s.tile.speed) + blockClocks)
	if s.parts > 1 {
		clocks += launchClocks + float64(s.parts)*8*float64(m)*float64(n)*byteClocks/modelSMs
	}
	return clocks
}

// A sum is cut into no more parts, of no fewer terms.
const (
	maxParts   = 64
	leastDepth = 128
)

// launch is the grid for a product of [m,n].
func (s shape) launch(m, n int) driver.Launch {
	return driver.Launch{
		Grid:  [3]int{blocks(m, s.tile.m) * blocks(n, s.tile.n), s.parts, 1},
		Block: [3]int{s.tile.threads, 1, 1}, Shared: s.tile.shared,
	}
}

// partBytes is what the parts of a product take: none where there is but one.
func (s shape) partBytes(m, n int) int64 {
	if s.parts == 1 {
		return 0
	}
	return int64(s.parts) * int64(m) * int64(n) * 4
}

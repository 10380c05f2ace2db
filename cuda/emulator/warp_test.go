//go:build linux

package emulator

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"
)

// Products of 16-bit floats are exact, so the error against float64 is that of 16 additions in float.
func TestMmaAgainstFloat64(t *testing.T) {
	d := open(t)
	rng := rand.New(rand.NewPCG(3, 4))
	for _, c := range []struct {
		kernel string
		value  func(uint16) float64
		one    uint16
	}{{"tile_bf16", bf16Value, 0x3f80}, {"tile_f16", f16Value, 0x3c00}} {
		random := func(n int) []uint16 {
			s := make([]uint16, n)
			for i := range s {
				s[i] = c.one ^ uint16(rng.Uint32()&0x80ff) // about 1, of both signs
			}
			return s
		}
		a, b, sum := random(16*16), random(16*8), make([]float32, 16*8)
		for i := range sum {
			sum[i] = rng.Float32()
		}
		da, db, dc := upload(d, a), upload(d, b), upload(d, sum)
		d.launch(d.function("probe", c.kernel), shape{blocks: 1, threads: 32}, da, db, dc)
		for i, got := range download[float32](d, dc, 16*8) {
			want, size := float64(sum[i]), math.Abs(float64(sum[i]))
			for k := range 16 {
				p := c.value(a[i/8*16+k]) * c.value(b[k*8+i%8])
				want += p
				size += math.Abs(p)
			}
			if math.Abs(float64(got)-want) > 16*size*0x1p-24 {
				t.Fatalf("%s: c[%d,%d] = %v, not %v", c.kernel, i/8, i%8, got, want)
			}
		}
		d.free(da)
		d.free(db)
		d.free(dc)
	}
}

func TestLdmatrix(t *testing.T) {
	d := open(t)
	out := d.alloc(4 * 4 * 128)
	d.launch(d.function("probe", "matrices"), shape{blocks: 1, threads: 32}, out)
	got := download[uint32](d, out, 4*128)
	for lane := range 32 {
		for m := range 4 {
			row := uint32(m*64 + lane/4*8 + lane%4*2)
			column := uint32(m*64 + lane%4*16 + lane/4)
			plain, trans := row|(row+1)<<16, column|(column+8)<<16
			if got[lane*4+m] != plain || got[128+lane*4+m] != trans {
				t.Fatalf("lane %d, matrix %d: x4 %#x (want %#x), trans %#x (want %#x)", lane, m, got[lane*4+m], plain, got[128+lane*4+m], trans)
			}
			if m < 2 && (got[256+lane*4+m] != plain || got[384+lane*4+m] != trans) {
				t.Fatalf("lane %d, matrix %d: x2 %#x (want %#x), trans %#x (want %#x)", lane, m, got[256+lane*4+m], plain, got[384+lane*4+m], trans)
			}
		}
	}
	d.free(out)
}

func TestCopiesArriveWhenWaitedFor(t *testing.T) {
	d := open(t)
	src, seen := upload(d, []uint32{1, 2, 3, 4, 5, 6, 7, 8}), d.alloc(4*5)
	d.launch(d.function("probe", "copies"), shape{blocks: 1, threads: 1}, src, seen)
	poison := uint32(math.MaxUint32)
	for i, want := range []uint32{poison, 1, poison, 5, 0} {
		if got := download[uint32](d, seen, 5)[i]; got != want {
			t.Errorf("seen[%d] = %#x, not %#x", i, got, want)
		}
	}
	d.free(src)
	d.free(seen)
}

func TestShufflesAndVotes(t *testing.T) {
	d := open(t, "LATHE_EMU_SHUFFLE=5")
	out := d.alloc(4 * 12 * 32)
	d.launch(d.function("probe", "lanes"), shape{blocks: 1, threads: 32}, out)
	got := download[uint32](d, out, 12*32)
	every3 := uint32(0x49249249)
	want := func(row int, lane uint32) uint32 {
		down := func(width uint32) uint32 {
			if lane%width+3 < width {
				return lane + 3
			}
			return lane
		}
		switch row {
		case 0:
			return lane ^ 5
		case 1:
			return down(32)
		case 2:
			return max(lane, 3) - 3 + map[bool]uint32{true: lane}[lane < 3]
		case 3:
			return 40 % 32
		case 4:
			return lane/8*8 + 1
		case 5:
			return down(8)
		case 6:
			return lane ^ 1
		case 7:
			return every3
		case 8:
			return 0xaaaaaaaa & (0xffff << (lane / 16 * 16))
		case 9:
			return 2
		case 10:
			return math.Float32bits(31 * 16)
		default:
			return 31
		}
	}
	for row := range 12 {
		for lane := range uint32(32) {
			if g := got[row*32+int(lane)]; g != want(row, lane) {
				t.Errorf("row %d, lane %d: %#x, not %#x", row, lane, g, want(row, lane))
			}
		}
	}
	d.free(out)
}

func TestReductionsDoNotDependOnTheOrder(t *testing.T) {
	v := make([]float32, 192)
	rng := rand.New(rand.NewPCG(5, 6))
	var sum, most, positive float64
	for i := range v {
		v[i] = float32(rng.NormFloat64())
		sum += float64(v[i])
		most = max(most, float64(v[i]))
		if v[i] > 0 {
			positive++
		}
	}
	var first []float64
	for _, seed := range []string{"", "7", "8"} {
		d := open(t, "LATHE_EMU_SHUFFLE="+seed)
		in, out := upload(d, v), d.alloc(8*6)
		d.launch(d.function("probe", "reductions"), shape{blocks: 1, threads: len(v)}, in, out)
		got := download[float64](d, out, 6)
		if first == nil {
			first = got
		}
		for i, want := range []float64{first[0], sum, most, positive, 0, 1} {
			if math.Abs(got[i]-want) > 1e-12*float64(len(v)) || got[i] != first[i] {
				t.Errorf("seed %q: value %d is %v, not %v", seed, i, got[i], want)
			}
		}
		if math.Abs(got[0]-sum) > 1e-4 {
			t.Errorf("sum in float is %v, not %v", got[0], sum)
		}
		d.free(in)
		d.free(out)
	}
}

func TestLowestErrorWins(t *testing.T) {
	for _, seed := range []string{"", "1", "2", "3"} {
		d := open(t, "LATHE_EMU_SHUFFLE="+seed)
		flags := make([]uint32, 256)
		flags[201], flags[77], flags[130] = 1, 99, 5
		in, e := upload(d, flags), d.alloc(16) // poison is "no error"
		d.launch(d.function("probe", "errors"), shape{blocks: 4, threads: 64}, e, in)
		got := download[byte](d, e, 16)
		place, value := binary.LittleEndian.Uint64(got), binary.LittleEndian.Uint64(got[8:])
		if place != 77<<32|7<<16|3 || value != 77<<32|99 {
			t.Errorf("seed %q: place %#x, value %#x", seed, place, value)
		}
		d.free(in)
		d.free(e)
	}
}

func TestTileIsItsProducts(t *testing.T) {
	d := open(t)
	rng := rand.New(rand.NewPCG(7, 8))
	in := make([]uint32, 32*14)
	for i := range in {
		in[i] = 0x3f803f80 ^ rng.Uint32()&0x80ff80ff
	}
	from, out := upload(d, in), d.alloc(4*32*48)
	d.launch(d.function("probe", "tiles"), shape{blocks: 1, threads: 32}, from, out)
	got := download[float32](d, out, 32*48)
	for lane := range 32 {
		for i := range 24 {
			if tile, single := got[lane*48+i], got[lane*48+24+i]; tile != single || tile == float32(i+lane) {
				t.Fatalf("lane %d, sum %d: %v in the tile, %v alone", lane, i, tile, single)
			}
		}
	}
	d.free(from)
	d.free(out)
}

func TestWords(t *testing.T) {
	d := open(t)
	out := d.alloc(4 * 8)
	d.launch(d.function("probe", "words"), shape{blocks: 1, threads: 1}, int32(0x03020110), int32(0x07060504), out)
	for i, want := range []uint32{0x05010410, 0x04030201, 0x06050403, 0x088040c0, 5, 6, 5, 0x152022} {
		if got := download[uint32](d, out, 8)[i]; got != want {
			t.Errorf("word %d is %#x, not %#x", i, got, want)
		}
	}
	d.free(out)
}

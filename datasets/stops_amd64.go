package datasets

import "golang.org/x/sys/cpu"

// stopsAVX2 does stopsOfBlock for blocks of 64 bytes, one or more, and adds up what is above ASCII. Some stops more than there it may give.
//
//go:noescape
func stopsAVX2(stops *uint64, text *byte, blocks int) (above uint64)

// vectors says that the processor has AVX2. Tests turn it off.
var vectors = cpu.X86.HasAVX2

// stopsOfBlocks gives the stops of text, whose length is a multiple of 64, as many as into holds.
func stopsOfBlocks(into []uint64, text []byte) (above uint64) {
	if !vectors || len(into) == 0 {
		return stopsByWords(into, text)
	}
	return stopsAVX2(&into[0], &text[0], len(into))
}

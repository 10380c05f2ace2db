package datasets

import "golang.org/x/sys/cpu"

func init() { vectors = cpu.X86.HasAVX2 }

// stopsAVX2 finds the stops of blocks of 64 bytes, one or more; above is not 0 where a byte is not ASCII. It takes byte 0xf2 and six signs
// beside the capitals for more than they are.
//
//go:noescape
func stopsAVX2(stops *uint64, text *byte, blocks int) (above uint64)

// stopsOfBlocks gives the stops of as many blocks of 64 bytes as into holds.
func stopsOfBlocks(into []uint64, text []byte) (above uint64) {
	if !vectors || len(into) == 0 {
		return stopsByWords(into, text)
	}
	return stopsAVX2(&into[0], &text[0], len(into))
}

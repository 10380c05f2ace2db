//go:build !amd64

package datasets

func stopsOfBlocks(into []uint64, text []byte) (above uint64) { return stopsByWords(into, text) }

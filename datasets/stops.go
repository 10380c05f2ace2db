package datasets

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"slices"
)

// stops has a bit for each byte of a text: set where a walk over it has to stop, because the byte can end or spoil a JSON string,
// or because a rule of the linter has to look at it. Everything else is stepped over 64 bytes at a time.
//
// Of numbers only the digits have bits that can be the end of something personal: after six more bytes of a number, or right
// after two capitals (an IBAN's check digits). What lies before a block of 64 is not looked at, so that a few bits are set that need not be.
type stops []uint64

// Eight bytes are tested at once, each in its own byte of a word (SWAR): the top bit of a byte is the answer.
const (
	everyByte = 0x0101010101010101
	topBits   = 0x80 * everyByte
)

// atLeast answers for each byte of w, which are below 0x80, whether it is c or more. The other bits mean nothing.
func atLeast(w uint64, c byte) uint64 { return w + uint64(0x80-c)*everyByte }

// within answers whether a byte is from first to last.
func within(w uint64, first, last byte) uint64 { return atLeast(w, first) &^ atLeast(w, last+1) }

// is answers whether a byte of any value is c.
func is(w uint64, c byte) uint64 {
	w ^= uint64(c) * everyByte
	return ^(w&^topBits + (topBits - everyByte) | w)
}

// gather moves the answers of eight bytes into eight bits.
func gather(answers uint64) uint64 { return (answers & topBits) >> 7 * 0x0102040810204080 >> 56 }

// of finds the stops of text. It says too whether all of it is ASCII.
func (s *stops) of(text []byte) (ascii bool) {
	blocks := len(text) / 64
	*s = slices.Grow((*s)[:0], blocks+1)[:blocks]
	above := stopsOfBlocks(*s, text[:64*blocks])
	if text = text[64*blocks:]; len(text) > 0 {
		rest := [64]byte(spaces)
		copy(rest[:], text)
		*s = (*s)[:blocks+1]
		above |= stopsOfBlocks((*s)[blocks:], rest[:])
	}
	return above == 0
}

// spaces have no stops.
var spaces = bytes.Repeat([]byte{' '}, 64)

// vectors says that the processor has the instructions for more than a word at a time. Tests turn it off.
var vectors bool

// stopsByWords is stopsOfBlocks in plain Go.
func stopsByWords(into []uint64, text []byte) (above uint64) {
	for i := range into {
		stop, top := stopsOfBlock((*[64]byte)(text[64*i:]))
		into[i], above = stop, above|top
	}
	return above
}

// stopsOfBlock gives the stops of 64 bytes; above is not 0 where one of them is not ASCII.
func stopsOfBlock(block *[64]byte) (stop, above uint64) {
	var digits uint64
	for i := 0; i < 64; i += 8 {
		w := binary.LittleEndian.Uint64(block[i:])
		low := w &^ topBits
		after9 := atLeast(low, ':')
		special := ^atLeast(low, ' ') | within(low, '"', '"') | after9&^atLeast(low, '=') | within(low, '@', '@') |
			within(low, '[', '\\') | atLeast(low, 0x7f)
		digits |= (atLeast(low, '0') &^ after9) &^ w
		stop |= gather(special&^w) << i
		above |= w
	}
	if digits&topBits != 0 {
		stop |= stopsOfNumbers(block)
	}
	if above &= topBits; above != 0 {
		stop |= stopsAboveASCII(block)
	}
	return stop, above
}

// stopsOfNumbers gives the digits that can end something personal.
func stopsOfNumbers(block *[64]byte) uint64 {
	var digits, numbers, capitals uint64
	for i := 0; i < 64; i += 8 {
		w := binary.LittleEndian.Uint64(block[i:])
		low := w &^ topBits
		digit := within(low, '0', '9')
		number := digit | within(low, ' ', ' ') | within(low, '(', ')') | within(low, '-', '.')
		digits |= gather(digit&^w) << i
		numbers |= gather(number&^w) << i
		capitals |= gather(within(low, 'A', 'Z')&^w) << i
	}
	six := numbers<<1 | 1 // the byte before is a number's
	six &= six<<1 | 1
	six &= six<<2 | 3
	six &= six<<2 | 3
	return digits & (six | (capitals<<1|1)&(capitals<<2|3))
}

// stopsAboveASCII gives the first bytes of characters that rules look at.
func stopsAboveASCII(block *[64]byte) (stop uint64) {
	for i := 0; i < 64; i += 8 {
		if w := binary.LittleEndian.Uint64(block[i:]); w&topBits != 0 {
			stop |= gather(is(w, 0xc2)|is(w, 0xc3)|is(w, 0xe2)|is(w, 0xef)|is(w, 0xf3)) << i
		}
	}
	return stop
}

// next gives the first stop at i or after it; beyond the text's end where there is none.
func (s stops) next(i int) int {
	at := i >> 6
	if at >= len(s) {
		return i
	}
	word := s[at] >> (i & 63) << (i & 63)
	for word == 0 {
		if at++; at == len(s) {
			return at << 6
		}
		word = s[at]
	}
	return at<<6 + bits.TrailingZeros64(word)
}

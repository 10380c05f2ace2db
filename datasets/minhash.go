package datasets

import (
	"math/bits"
	"unicode"
	"unicode/utf8"
)

// The parameters of datatrove's MinHash deduplication: shingles of five words,
// and 14 buckets of 8 hashes each. Two texts that share a bucket are near
// duplicates; at a Jaccard similarity s that happens with probability
// 1 - (1 - s^8)^14: 5% at 0.5, 56% at 0.7, 92% at 0.8, 100% at 0.9.
const (
	shingleWords  = 5
	hashBuckets   = 14
	bucketHashes  = 8
	mersennePrime = 1<<61 - 1
)

// signature is the hash of each bucket of a text.
type signature [hashBuckets]uint64

// hashParameters are the a and b of (a·x + b) mod (2^61 - 1).
var hashParameters = func() (p [hashBuckets * bucketHashes][2]uint64) {
	r := newRandom(1, 0)
	for i := range p {
		p[i] = [2]uint64{1 + r.below(mersennePrime-1), r.below(mersennePrime)}
	}
	return p
}()

// minHasher makes signatures; it keeps its buffers.
type minHasher struct {
	words [][]byte
	text  []byte
}

// sign returns the signature of texts taken as one. Texts of fewer than five
// words have none: they are duplicates only when they are equal.
func (m *minHasher) sign(texts ...string) (signature, bool) {
	m.split(texts)
	if len(m.words) < shingleWords {
		return signature{}, false
	}
	var least [hashBuckets * bucketHashes]uint64
	for i := range least {
		least[i] = ^uint64(0)
	}
	for i := range len(m.words) - shingleWords + 1 {
		x := shingleHash(m.words[i : i+shingleWords])
		for j, p := range hashParameters {
			least[j] = min(least[j], multiplyAdd(p[0], x, p[1]))
		}
	}
	var s signature
	for b := range s {
		h := uint64(b)
		for _, v := range least[b*bucketHashes : (b+1)*bucketHashes] {
			h = mix(h ^ v)
		}
		s[b] = h
	}
	return s, true
}

// split normalises texts as datatrove does: lower case, runs of digits as 0,
// punctuation and white space apart. Letters of scripts that write without
// spaces are words of their own.
func (m *minHasher) split(texts []string) {
	m.text, m.words = m.text[:0], m.words[:0]
	var ends []int // a word's end in m.text; words are cut when it grows no more
	open, number := false, false
	finish := func() {
		if open {
			ends = append(ends, len(m.text))
		}
		open, number = false, false
	}
	for _, text := range texts {
		for _, r := range text {
			switch {
			case unicode.IsDigit(r):
				if !number {
					m.text = append(m.text, '0')
				}
				open, number = true, true
			case unicode.IsLetter(r), unicode.Is(unicode.M, r):
				if unspaced(r) {
					finish()
				}
				number, open = false, true
				m.text = utf8.AppendRune(m.text, unicode.ToLower(r))
			default:
				finish()
			}
		}
		finish()
	}
	start := 0
	for _, end := range ends {
		m.words = append(m.words, m.text[start:end])
		start = end
	}
}

// unspaced reports whether r belongs to a script without spaces between words.
func unspaced(r rune) bool {
	return r >= 0x0e00 && unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar)
}

// shingleHash is FNV-1a over the words, each ended by a zero, mixed.
func shingleHash(words [][]byte) uint64 {
	h := uint64(14695981039346656037)
	for _, word := range words {
		for _, c := range word {
			h = (h ^ uint64(c)) * 1099511628211
		}
		h *= 1099511628211
	}
	return mix(h) % mersennePrime
}

// mix is the finaliser of SplitMix64.
func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// multiplyAdd is (a·x + b) mod (2^61 - 1), for a, x and b below it.
func multiplyAdd(a, x, b uint64) uint64 {
	high, low := bits.Mul64(a, x)
	// 2^61 is 1 modulo the prime: add the bits above the 61st to those below.
	sum := low&mersennePrime + (low>>61 | high<<3) + b
	sum = sum&mersennePrime + sum>>61
	if sum >= mersennePrime {
		sum -= mersennePrime
	}
	return sum
}

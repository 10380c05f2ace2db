package datasets

// packStream and splitStream are random streams beside those of the epochs.
const (
	packStream  = 1 << 40
	splitStream = 1 << 41
)

// random is SplitMix64 (Steele, Lea, Flood 2014): the same numbers on every
// machine and in every version of Go, which math/rand does not promise.
type random uint64

// newRandom returns stream of seed; streams of one seed are independent.
func newRandom(seed int64, stream uint64) *random {
	r := random(uint64(seed))
	r = random(r.next() ^ (stream+1)*0x9e3779b97f4a7c15)
	return &r
}

func (r *random) next() uint64 {
	*r += 0x9e3779b97f4a7c15
	z := uint64(*r)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// below returns a number in [0,n) without modulo bias.
func (r *random) below(n uint64) uint64 {
	limit := -n % n // 2^64 mod n
	for {
		if v := r.next(); v >= limit {
			return v % n
		}
	}
}

// shuffle is Fisher and Yates'.
func (r *random) shuffle(values []int32) {
	for i := len(values) - 1; i > 0; i-- {
		j := r.below(uint64(i) + 1)
		values[i], values[j] = values[j], values[i]
	}
}

// identity returns 0, 1 … n-1.
func identity(n int) []int32 {
	values := make([]int32, n)
	for i := range values {
		values[i] = int32(i)
	}
	return values
}

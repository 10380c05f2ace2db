package datasets

import (
	"cmp"
	"slices"
)

// packWindow is how many samples are packed together: enough that the rows left
// open at its end are few, little enough that a row's samples stay neighbours.
const packWindow = 2048

// packedRows are rows of sample indices, kept flat: row r is
// samples[starts[r]:starts[r+1]].
type packedRows struct {
	starts  []int32
	samples []int32
}

func (p packedRows) len() int { return len(p.starts) - 1 }

func (p packedRows) row(r int) []int32 { return p.samples[p.starts[r]:p.starts[r+1]] }

func (p *packedRows) add(samples []int32) {
	p.samples = append(p.samples, samples...)
	p.starts = append(p.starts, int32(len(p.samples)))
}

// singleRows is one sample a row.
func singleRows(n int) packedRows {
	return packedRows{starts: identity(n + 1), samples: identity(n)}
}

// packRows packs whole samples into rows of at most MaxSeqLength tokens,
// first-fit-decreasing inside windows of packWindow samples. Shuffled, the
// samples are mixed before, so that a sorted file gives mixed rows; in the
// file's order, rows follow their first samples. A sample that is longer than a
// row has a row of its own.
func packRows(samples []Sample, c LoaderConfig) packedRows {
	capacity := c.MaxSeqLength
	if capacity <= 0 {
		for _, s := range samples {
			capacity = max(capacity, len(s.Tokens))
		}
	}
	order := identity(len(samples))
	if c.Shuffle {
		newRandom(c.Seed, packStream).shuffle(order)
	}
	rows := packedRows{starts: []int32{0}}
	for window := range slices.Chunk(order, packWindow) {
		for _, row := range firstFitDecreasing(samples, window, capacity) {
			rows.add(row)
		}
	}
	return rows
}

// firstFitDecreasing puts the longest sample first, each into the first row
// with room. Rows, and the samples in them, come back in window's order.
func firstFitDecreasing(samples []Sample, window []int32, capacity int) [][]int32 {
	length := func(place int32) int { return len(samples[window[place]].Tokens) }
	byLength := identity(len(window))
	slices.SortStableFunc(byLength, func(a, b int32) int { return cmp.Compare(length(b), length(a)) })

	var rows [][]int32 // places in window
	var room []int
	open := 0 // rows before it are full
	for _, place := range byLength {
		n := length(place)
		for open < len(rows) && room[open] == 0 {
			open++
		}
		r := open
		for r < len(rows) && room[r] < n {
			r++
		}
		if r == len(rows) {
			rows, room = append(rows, nil), append(room, max(capacity, n))
		}
		rows[r] = append(rows[r], place)
		room[r] -= n
	}
	for _, row := range rows {
		slices.Sort(row)
	}
	slices.SortFunc(rows, func(a, b []int32) int { return cmp.Compare(a[0], b[0]) })
	for _, row := range rows {
		for i, place := range row {
			row[i] = window[place]
		}
	}
	return rows
}

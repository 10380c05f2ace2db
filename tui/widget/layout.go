package widget

// Part is one claim in Split. Fixed cells come first; what is left goes to
// the weights, no part getting less than Min.
type Part struct {
	Fixed  int
	Weight int
	Min    int
}

// Fixed claims n cells.
func Fixed(n int) Part { return Part{Fixed: n, Min: n} }

// Flex claims a share of what is left, at least minimum cells.
func Flex(weight, minimum int) Part { return Part{Weight: max(weight, 1), Min: minimum} }

// Split divides total cells among parts. The sizes add up to total where
// there is any flexible part, and never exceed it. Where the minima do not
// fit, parts at the end get nothing: order them by importance.
func Split(total int, parts ...Part) []int {
	sizes := make([]int, len(parts))
	left, weights := max(total, 0), 0
	for i, p := range parts {
		n := max(p.Min, p.Fixed)
		if n > left {
			if i > 0 {
				continue // does not fit: gets nothing
			}
			n = left
		}
		sizes[i] = n
		left -= n
		weights += p.Weight
	}
	// Shares are of the whole flexible space, so that minima do not skew them.
	for left > 0 && weights > 0 {
		grew := growFlexible(sizes, parts, &left, weights)
		if !grew {
			break
		}
	}
	return sizes
}

// growFlexible hands the cells of *left to the flexible parts that are
// furthest below their share.
func growFlexible(sizes []int, parts []Part, left *int, weights int) bool {
	pool := *left
	for i, p := range parts {
		if p.Weight > 0 && !(sizes[i] == 0 && p.Min > 0) {
			pool += sizes[i]
		}
	}
	grew := false
	for i, p := range parts {
		if p.Weight == 0 || sizes[i] == 0 && p.Min > 0 {
			continue
		}
		if add := min(pool*p.Weight/weights-sizes[i], *left); add > 0 {
			sizes[i] += add
			*left -= add
			grew = true
		}
	}
	if !grew { // rounding: one cell to the first flexible part
		for i, p := range parts {
			if p.Weight > 0 && (sizes[i] > 0 || p.Min == 0) {
				sizes[i]++
				*left--
				return true
			}
		}
	}
	return grew
}

// Compact says that a terminal is too narrow for side-by-side panes.
func Compact(width int) bool { return width < 120 }

// Cache keeps the last rendering of a pane. View is called after every
// message: what did not change must cost nothing.
type Cache[K comparable] struct {
	key  K
	text string
	ok   bool
}

// Get returns the text kept for key, or draws it.
func (c *Cache[K]) Get(key K, draw func() string) string {
	if !c.ok || c.key != key {
		c.key, c.text, c.ok = key, draw(), true
	}
	return c.text
}

// Drop forgets the kept text.
func (c *Cache[K]) Drop() { *c = Cache[K]{} }

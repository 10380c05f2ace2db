package model

import (
	"slices"
	"testing"
)

// TestShares cuts jobs for readers: all of them, in order, into at most as many parts as there are readers.
func TestShares(t *testing.T) {
	for _, sizes := range [][]int{nil, {5}, {1, 1, 1, 1}, {100, 1, 1}, {1, 1, 100}, {0, 0, 3}, {7, 2, 9, 4, 4, 1}} {
		for n := 1; n <= 8; n++ {
			var jobs []placeJob
			for _, size := range sizes {
				jobs = append(jobs, placeJob{to: make([]byte, size)})
			}
			parts := shares(jobs, n)
			var got []int
			for _, part := range parts {
				if len(part) == 0 {
					t.Errorf("%v for %d: an empty part", sizes, n)
				}
				for _, j := range part {
					got = append(got, len(j.to))
				}
			}
			if len(parts) > n || !slices.Equal(got, sizes) {
				t.Errorf("%v for %d: %d parts of %v", sizes, n, len(parts), got)
			}
		}
	}
}

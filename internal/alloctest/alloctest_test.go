package alloctest

import (
	"slices"
	"testing"
)

// failures counts what a check would have failed.
type failures struct {
	testing.TB
	n int
}

func (f *failures) Helper()               {}
func (f *failures) Errorf(string, ...any) { f.n++ }

var sink []byte

func TestWithin(t *testing.T) {
	if Instrumented {
		t.Skip("not run: the race detector has a bound of its own")
	}
	for _, test := range []struct {
		size, everyFile, takes int
		fails                  bool
	}{
		{1 << 20, 1 << 16, 4 << 20, false},
		{1 << 20, 1 << 16, 5 << 20, true},
		{0, 1 << 20, 1 << 19, false},
		{0, 1 << 20, 2 << 20, true},
	} {
		f := &failures{TB: t}
		Within(f, test.size, test.everyFile, func() { sink = slices.Grow([]byte(nil), test.takes) })
		if (f.n > 0) != test.fails {
			t.Errorf("%+v: %d failures", test, f.n)
		}
	}
}

package driver

import (
	"bytes"
	"testing"
)

// More copies than the ring has slots, from one buffer that is changed after each, arrive as they were; so does one that is too
// large for a slot. The fake reads the host's memory as late as it may.
func TestStagedCopies(t *testing.T) {
	c := fakeContext(t)
	const copies, size = 5*stagingSlots + 3, 64
	p, err := c.Alloc(copies * size)
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.NewStream()
	if err != nil {
		t.Fatal(err)
	}
	src, want := make([]byte, size), []byte{}
	for i := range copies {
		for j := range src {
			src[j] = byte(i + j)
		}
		want = append(want, src...)
		check(t, c.CopyIn(p+Ptr(i*size), src, s))
	}
	clear(src)
	got := make([]byte, len(want))
	check(t, c.CopyOut(got, p, s))
	if !bytes.Equal(got, want) {
		t.Error("a copy shows what its buffer held later")
	}
	large := bytes.Repeat([]byte{9}, stagingBytes+1)
	q, err := c.Alloc(int64(len(large)))
	if err != nil {
		t.Fatal(err)
	}
	check(t, c.CopyIn(q, large, s))
	clear(large)
	check(t, c.CopyOut(large, q, s))
	if !bytes.Equal(large, bytes.Repeat([]byte{9}, stagingBytes+1)) {
		t.Error("a large copy shows what its buffer held later")
	}
	check(t, c.DestroyStream(s))
}

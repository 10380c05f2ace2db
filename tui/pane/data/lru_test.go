package data

import "testing"

func TestLRU(t *testing.T) {
	c := newLRU[int, string](3)
	for i := range 3 {
		c.put(i, string(rune('a'+i)))
	}
	if v, ok := c.get(0); !ok || v != "a" {
		t.Fatalf("get(0) = %q, %v", v, ok)
	}
	c.put(3, "d") // 1 is the oldest now
	if c.has(1) || !c.has(0) || !c.has(2) || !c.has(3) || c.len() != 3 {
		t.Errorf("kept 0 %v, 1 %v, 2 %v, 3 %v of %d", c.has(0), c.has(1), c.has(2), c.has(3), c.len())
	}
	c.put(2, "C")
	if v, _ := c.get(2); v != "C" || c.len() != 3 {
		t.Errorf("put again: %q of %d", v, c.len())
	}
	if v, ok := c.get(9); ok || v != "" {
		t.Errorf("get(9) = %q, %v", v, ok)
	}
}

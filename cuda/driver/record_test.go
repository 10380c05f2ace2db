package driver

import (
	"bytes"
	"errors"
	"testing"
)

// A recorder tells launches with their arguments, gives addresses that do not overlap, and knows no kernel that the PTX has not.
func TestRecorder(t *testing.T) {
	var calls []Call
	c := NewRecorder(Info{Name: "recorder", Major: 8}, func(call Call) { calls = append(calls, call) })
	m, err := c.Load([]byte(".visible .entry add(\n"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Function("ad"); !errors.Is(err, ErrInvalid) {
		t.Error("a kernel that is not there:", err)
	}
	f, err := m.Function("add")
	if err != nil {
		t.Fatal(err)
	}
	a, errA := c.Alloc(300)
	b, errB := c.Alloc(1)
	if errA != nil || errB != nil || a%256 != 0 || b < a+300 {
		t.Errorf("memory at %#x and %#x: %v %v", uint64(a), uint64(b), errA, errB)
	}
	err = errors.Join(c.Set(a, 0, 300, 0), c.Launch(f, Launch{Grid: [3]int{7}, Shared: 9}, P(a), I32(-1)), c.Copy(b, a, 1, 0))
	if err != nil || len(calls) != 3 {
		t.Fatalf("%v, told %+v", err, calls)
	}
	if l := calls[1]; l.Kernel != "add" || l.Launch.Grid != [3]int{7, 1, 1} || l.Launch.Shared != 9 || l.Args[0] != uint64(a) || int32(l.Args[1]) != -1 {
		t.Errorf("told %+v", l)
	}
	if s, m := calls[0], calls[2]; s.Kernel != "memset" || s.Bytes != 300 || m.Kernel != "memcpy" || m.Args[1] != uint64(a) {
		t.Errorf("told %+v and %+v", s, m)
	}
	read := make([]byte, 3)
	if err := errors.Join(c.CopyIn(a, read, 0), c.CopyOut(read, a, 0), c.Close()); err != nil || !bytes.Equal(read, []byte{255, 255, 255}) {
		t.Errorf("read %v: %v", read, err)
	}
}

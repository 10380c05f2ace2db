package compute

import "fmt"

// Slot names a part of a device's workspace: an operation that calls others must not lose its own to them.
type Slot int

// The slots, as Workspace has them.
const (
	SlotSimple    Slot = iota // of one operation
	SlotComposite             // of LinearCrossEntropy, which calls products
	slots
)

// Scratch is a device's workspace, grown on demand. A is how the device names a piece of its memory.
type Scratch[A interface {
	comparable
	Size() int64
}] struct {
	held     [slots]A
	allocate func(bytes int64) (A, error)
	release  func(A)
}

// NewScratch returns a workspace that holds nothing yet.
func NewScratch[A interface {
	comparable
	Size() int64
}](allocate func(int64) (A, error), release func(A)) Scratch[A] {
	return Scratch[A]{allocate: allocate, release: release}
}

// Grow is a slot's memory, of at least so many bytes. Its content lasts until the slot's next use.
func (s *Scratch[A]) Grow(slot Slot, bytes int64) (A, error) {
	var none A
	if a := s.held[slot]; a != none {
		if a.Size() >= bytes {
			return a, nil
		}
		s.release(a)
		s.held[slot] = none
	}
	a, err := s.allocate(bytes)
	if err != nil {
		return none, fmt.Errorf("reserve workspace: %w", err)
	}
	s.held[slot] = a
	return a, nil
}

// Reserve is Device's Reserve.
func (s *Scratch[A]) Reserve(w Workspace) error {
	for slot, bytes := range [slots]int64{SlotSimple: w.Simple, SlotComposite: w.Composite} {
		if bytes == 0 {
			continue
		}
		if _, err := s.Grow(Slot(slot), bytes); err != nil {
			return err
		}
	}
	return nil
}

// Held is how many bytes the slots hold.
func (s *Scratch[A]) Held() int64 {
	var n int64
	var none A
	for _, a := range s.held {
		if a != none {
			n += a.Size()
		}
	}
	return n
}

// Free gives the memory of all slots back.
func (s *Scratch[A]) Free() {
	var none A
	for i, a := range s.held {
		if a != none {
			s.release(a)
			s.held[i] = none
		}
	}
}

package datasets

// rowTable maps hashes to rows, by open addressing with linear probing. The hashes are good ones already, so that their low bits choose
// the place. A row takes 16 to 32 bytes.
type rowTable struct {
	slots []rowSlot // a power of two, at most three quarters full
	used  int
}

// rowSlot is empty where next is 0.
type rowSlot struct {
	hash uint64
	next int32 // the row's number and one
}

// first returns the row that hash stands for already, else it notes row for it.
func (t *rowTable) first(hash uint64, row int32) (first int32, found bool) {
	if 4*t.used >= 3*len(t.slots) {
		t.grow()
	}
	slot := t.find(hash)
	if slot.next != 0 {
		return slot.next - 1, true
	}
	t.used++
	*slot = rowSlot{hash, row + 1}
	return row, false
}

// find returns the slot of hash, or the empty one where it belongs.
func (t *rowTable) find(hash uint64) *rowSlot {
	mask := uint64(len(t.slots) - 1)
	for at := hash & mask; ; at = (at + 1) & mask {
		if slot := &t.slots[at]; slot.next == 0 || slot.hash == hash {
			return slot
		}
	}
}

func (t *rowTable) grow() {
	old := t.slots
	t.slots = make([]rowSlot, max(2*len(old), 1024))
	for _, slot := range old {
		if slot.next != 0 {
			*t.find(slot.hash) = slot
		}
	}
}

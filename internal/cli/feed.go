package cli

import "sync"

// feed does things one after the other on a goroutine of its own: what prints must not hold up what works, however slow the
// reader of the output is.
type feed struct {
	mu     sync.Mutex
	todo   []func()
	closed bool
	wake   chan struct{} // capacity 1
	ended  chan struct{}
}

func newFeed() *feed {
	f := &feed{wake: make(chan struct{}, 1), ended: make(chan struct{})}
	go f.loop()
	return f
}

// put queues a thing to do and returns at once; after close it is dropped.
func (f *feed) put(do func()) {
	f.mu.Lock()
	if !f.closed {
		f.todo = append(f.todo, do)
	}
	f.mu.Unlock()
	f.stir()
}

// close waits until everything is done.
func (f *feed) close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.stir()
	<-f.ended
}

func (f *feed) stir() {
	select {
	case f.wake <- struct{}{}:
	default: // already awake
	}
}

func (f *feed) loop() {
	defer close(f.ended)
	for range f.wake {
		f.mu.Lock()
		todo, closed := f.todo, f.closed
		f.todo = nil
		f.mu.Unlock()
		for _, do := range todo {
			do()
		}
		if closed {
			return
		}
	}
}

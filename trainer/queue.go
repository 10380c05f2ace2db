package trainer

import "sync"

// eventQueue hands events to a listener in order, on a goroutine of its own: a slow listener never stops a step.
type eventQueue struct {
	mu     sync.Mutex
	more   *sync.Cond
	events []Event
	closed bool
	done   chan struct{}
}

func newEventQueue(emit func(Event)) *eventQueue {
	q := &eventQueue{done: make(chan struct{})}
	q.more = sync.NewCond(&q.mu)
	go q.deliver(emit)
	return q
}

func (q *eventQueue) put(e Event) {
	q.mu.Lock()
	q.events = append(q.events, e)
	q.mu.Unlock()
	q.more.Signal()
}

func (q *eventQueue) deliver(emit func(Event)) {
	defer close(q.done)
	for {
		q.mu.Lock()
		for len(q.events) == 0 && !q.closed {
			q.more.Wait()
		}
		batch := q.events
		q.events = nil
		q.mu.Unlock()
		if len(batch) == 0 {
			return // closed and drained
		}
		for _, e := range batch {
			emit(e)
		}
	}
}

// close waits until every event has been delivered.
func (q *eventQueue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.more.Signal()
	<-q.done
}

package session

// Listener is one reader's latest-value mailbox. Its methods are for one goroutine.
type Listener struct {
	s    *Session
	wake chan struct{}
}

// Listen returns a mailbox that is woken once at once and then after every change.
func (s *Session) Listen() *Listener {
	l := &Listener{s: s, wake: make(chan struct{}, 1)}
	l.wake <- struct{}{}
	s.mu.Lock()
	s.listeners[l] = struct{}{}
	s.mu.Unlock()
	return l
}

// Changed is readable when the View has changed since the last Take. It is never closed.
func (l *Listener) Changed() <-chan struct{} { return l.wake }

// Take returns the newest View.
func (l *Listener) Take() View { return l.s.View() }

// Close stops the mailbox.
func (l *Listener) Close() {
	l.s.mu.Lock()
	delete(l.s.listeners, l)
	l.s.mu.Unlock()
}

// wakeAll tells every listener that the View changed; one that has not taken the last change yet is already told.
func (s *Session) wakeAll() {
	for l := range s.listeners {
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
}

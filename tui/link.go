package tui

import (
	"bytes"
	"io"
	"os"
	"sync"
	"time"
)

// link is the way to the terminal: it counts bytes, notices slow writes and the line's end, and lets go of a write that
// hangs when the program has to end.
type link struct {
	out  io.Writer
	todo chan []byte
	done chan written

	gone     chan struct{} // closed when the terminal is no more, or given up
	goneOnce sync.Once

	mu     sync.Mutex
	failed bool // the terminal itself failed
	busy   time.Time
	took   time.Duration // a moving mean of what writes take
	second int64         // the second that sent counts
	sent   [2]int64      // of this second and of the last one
}

type written struct {
	n   int
	err error
}

// slowWrite is when a line counts as slow; a frame of a few kilobytes takes far less on a local terminal.
const slowWrite = 60 * time.Millisecond

// newLink begins to write to out; nil is a link that only counts.
func newLink(out io.Writer) *link {
	l := &link{out: out, todo: make(chan []byte), done: make(chan written, 1), gone: make(chan struct{})}
	if out != nil {
		go l.pump()
	}
	return l
}

// pump does the writes, so that Write need not wait for one that hangs.
func (l *link) pump() {
	for {
		select {
		case p := <-l.todo:
			n, err := l.out.Write(p)
			l.done <- written{n, err}
		case <-l.gone:
			return
		}
	}
}

// Write passes p on and waits until the terminal has taken it or is given up.
func (l *link) Write(p []byte) (int, error) {
	start := time.Now()
	l.mu.Lock()
	l.busy = start
	l.mu.Unlock()
	// The caller uses its buffer again; a write that was given up may still read it.
	select {
	case l.todo <- bytes.Clone(p):
	case <-l.gone:
		return 0, os.ErrClosed
	}
	select {
	case w := <-l.done:
		l.count(w.n, time.Now(), time.Since(start))
		if w.err != nil {
			l.fail()
		}
		return w.n, w.err
	case <-l.gone:
		return 0, os.ErrClosed
	}
}

func (l *link) count(n int, now time.Time, took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turn(now)
	l.sent[0] += int64(n)
	l.busy = time.Time{}
	l.took += (took - l.took) / 4
}

// turn begins a new second where one is over.
func (l *link) turn(now time.Time) {
	switch s := now.Unix(); {
	case s == l.second:
	case s == l.second+1:
		l.sent, l.second = [2]int64{0, l.sent[0]}, s
	default:
		l.sent, l.second = [2]int64{}, s
	}
}

// rate is the bytes of the last whole second; what a status bar's own refresh writes counts as nothing.
func (l *link) rate() int64 {
	const refresh = 400
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turn(time.Now())
	if l.sent[1] < refresh {
		return 0
	}
	return l.sent[1]
}

// slow tells that writes take long, or that one is under way for long.
func (l *link) slow() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.took > slowWrite || !l.busy.IsZero() && time.Since(l.busy) > 4*slowWrite
}

// fail says that the terminal is no more.
func (l *link) fail() {
	l.mu.Lock()
	l.failed = true
	l.mu.Unlock()
	l.abandon()
}

// abandon lets go of the terminal: writes fail from now on.
func (l *link) abandon() { l.goneOnce.Do(func() { close(l.gone) }) }

// lost tells that the terminal itself has failed.
func (l *link) lost() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed
}

// watched is an input whose end is the terminal's end.
type watched struct {
	io.Reader
	link *link
}

func (w watched) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	if err != nil {
		w.link.fail()
	}
	return n, err
}

// watchedFile is watched for a file, which Bubble Tea puts into raw mode and waits for without blocking.
type watchedFile struct {
	*os.File
	link *link
}

func (w watchedFile) Read(p []byte) (int, error) {
	n, err := w.File.Read(p)
	if n == 0 || err != nil {
		w.link.fail()
	}
	return n, err
}

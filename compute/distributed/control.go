package distributed

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"lathe/compute"
)

// Control is a group whose ranks have met. Its calls are those of one goroutine; Err, Failed and Abandon may come from any.
type Control struct {
	launch Launch
	peers  []*peer // by rank; nil for this one, and for those that it is not connected with

	once    sync.Once
	err     atomic.Pointer[error]
	failed  chan struct{}
	stopped chan struct{} // ends the watch
	closed  atomic.Bool
}

// PeerError says that another rank has ended, or wants to end.
type PeerError struct{ Text string }

func (e *PeerError) Error() string { return e.Text }

// Is makes it a [compute.ErrGroup].
func (e *PeerError) Is(target error) bool { return target == compute.ErrGroup }

// beat is how often a rank says that it lives; after so many beats of silence the others take it for dead.
const (
	beat       = 3 * time.Second
	deadSilent = 8
)

func newControl(l Launch, peers []*peer) *Control {
	c := &Control{launch: l, peers: peers, failed: make(chan struct{}), stopped: make(chan struct{})}
	for _, p := range c.connected() {
		go c.read(p)
	}
	go c.watch()
	return c
}

func (c *Control) connected() (all []*peer) {
	for _, p := range c.peers {
		if p != nil {
			all = append(all, p)
		}
	}
	return all
}

// Rank is this process's number.
func (c *Control) Rank() int { return c.launch.Rank }

// Size is the number of ranks.
func (c *Control) Size() int { return c.launch.Size }

// Err is why the group has ended, nil while it holds.
func (c *Control) Err() error {
	if e := c.err.Load(); e != nil {
		return *e
	}
	return nil
}

// Failed is closed when the group has ended before its time.
func (c *Control) Failed() <-chan struct{} { return c.failed }

// read takes in what a peer sends.
func (c *Control) read(p *peer) {
	defer close(p.done)
	defer close(p.frames)
	for {
		f, err := p.receive()
		switch {
		case err != nil && (p.left.Load() || c.closed.Load()):
			return
		case err != nil:
			c.fail(&PeerError{fmt.Sprintf("%s ended without a word (killed, or out of memory?): its own output says more", p.name)}, p)
			return
		case f.kind == frameBeat:
		case f.kind == frameBye:
			p.left.Store(true)
			return
		case f.kind == frameFailed:
			text := string(f.data)
			if c.launch.Rank == 0 { // others hear of it through rank 0, who knows the name
				text = fmt.Sprintf("%s failed: %s", p.name, text)
			}
			c.fail(&PeerError{text}, p)
			return
		default:
			select {
			case p.frames <- f:
			case <-c.stopped:
				return
			}
		}
	}
}

// watch says that this rank lives, and notices when another says nothing any more. It counts its own ticks, so that a job that
// was stopped as a whole (SIGSTOP, a suspended machine) goes on afterwards.
func (c *Control) watch() {
	ticker := time.NewTicker(beat)
	defer ticker.Stop()
	for {
		select {
		case <-c.stopped:
			return
		case <-ticker.C:
		}
		for _, p := range c.connected() {
			if p.left.Load() {
				continue
			}
			if p.silent.Add(1) > deadSilent {
				c.fail(&PeerError{fmt.Sprintf("%s has said nothing for %v: its host or the network is gone", p.name, deadSilent*beat)}, p)
				return
			}
			if p.writing.TryLock() { // else something is being sent, which is a sign of life too
				p.writing.Unlock()
				go func() { _ = p.send(frameBeat, nil) }()
			}
		}
	}
}

// fail ends the group. Rank 0 passes the reason on to all but the one it came from.
func (c *Control) fail(err error, from *peer) {
	c.once.Do(func() {
		c.err.Store(&err)
		var wait sync.WaitGroup
		for _, p := range c.connected() {
			if p != from && !p.left.Load() {
				wait.Go(func() { p.sendWithin(time.Second, frameFailed, []byte(err.Error())) })
			}
		}
		wait.Wait()
		close(c.failed)
	})
}

// Abandon ends the group with this rank's reason, which the others are told.
func (c *Control) Abandon(reason error) {
	if reason == nil {
		reason = errors.New("it gave up")
	}
	if c.closed.Swap(true) {
		return
	}
	text := reason
	if c.launch.Rank == 0 {
		text = fmt.Errorf("rank 0 failed: %w", reason)
	}
	c.fail(text, nil)
	c.hangUp()
}

// Close leaves the group after its last call.
func (c *Control) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	for _, p := range c.connected() {
		p.sendWithin(time.Second, frameBye, nil)
	}
	c.hangUp()
	return nil
}

func (c *Control) hangUp() {
	close(c.stopped)
	var wait sync.WaitGroup
	for _, p := range c.connected() {
		wait.Go(func() { p.hangUp(time.Second) })
	}
	wait.Wait()
}

// take waits for a peer's next frame, which has to be of a kind.
func (c *Control) take(p *peer, kind byte) ([]byte, error) {
	var f frame
	var ok bool
	select {
	case f, ok = <-p.frames:
	default:
		select {
		case f, ok = <-p.frames:
		case <-c.failed:
			return nil, c.Err()
		}
	}
	switch {
	case ok && f.kind == kind:
		return f.data, nil
	case ok:
		err := fmt.Errorf("%s is at another place of the run (it sent %q where %q was due): a fault in this program, please report it", p.name, f.kind, kind)
		c.fail(err, nil)
		return nil, err
	}
	if p.left.Load() {
		c.fail(&PeerError{p.name + " has ended before the run did"}, p)
	}
	<-c.failed // the reader knows why
	return nil, c.Err()
}

// give sends a frame.
func (c *Control) give(p *peer, kind byte, data []byte) error {
	err := p.send(kind, data)
	if err == nil {
		return nil
	}
	if errors.Is(err, net.ErrClosed) || c.Err() == nil {
		select { // the reader usually knows the reason
		case <-c.failed:
		case <-time.After(2 * time.Second):
			c.fail(&PeerError{fmt.Sprintf("%s cannot be reached: %v", p.name, err)}, p)
		}
	}
	return c.Err()
}

// Gather hands every rank the messages of all.
func (c *Control) Gather(message []byte) ([][]byte, error) {
	if err := c.Err(); err != nil {
		return nil, err
	}
	if c.launch.Rank > 0 {
		if err := c.give(c.peers[0], frameGather, message); err != nil {
			return nil, err
		}
		all, err := c.take(c.peers[0], frameGather)
		if err != nil {
			return nil, err
		}
		return unpack(all, c.launch.Size)
	}
	messages := make([][]byte, c.launch.Size)
	messages[0] = message
	for r := 1; r < c.launch.Size; r++ {
		m, err := c.take(c.peers[r], frameGather)
		if err != nil {
			return nil, err
		}
		messages[r] = m
	}
	all := pack(messages)
	for r := 1; r < c.launch.Size; r++ {
		if err := c.give(c.peers[r], frameGather, all); err != nil {
			return nil, err
		}
	}
	return messages, nil
}

package nccl

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"lathe/compute"
	"lathe/compute/distributed"
	"lathe/cuda"
	"lathe/cuda/driver"
)

// Group is a group of GPUs.
type Group struct {
	*distributed.Control
	dev *cuda.Device

	mu   sync.Mutex // guards comm, which the watch aborts
	comm comm
	done chan struct{} // ends the watch
	once sync.Once
}

var _ compute.Group = (*Group)(nil)

// Join makes a group of ranks that have met, each with its GPU. An error ends the group for all.
func Join(c *distributed.Control, dev *cuda.Device) (*Group, error) {
	g := &Group{Control: c, dev: dev, done: make(chan struct{})}
	if err := g.connect(); err != nil {
		c.Abandon(err)
		return nil, err
	}
	go g.watch()
	return g, nil
}

// connect makes the communicator: every rank says which NCCL it has, rank 0 names the communicator, and all make it together.
func (g *Group) connect() error {
	version, err := load()
	if err != nil {
		return err
	}
	var name id
	if g.Rank() == 0 {
		if name, err = newID(); err != nil {
			return err
		}
	}
	all, err := g.Gather(append(binary.LittleEndian.AppendUint32(nil, uint32(version)), name[:]...))
	if err != nil {
		return err
	}
	for rank, m := range all {
		if len(m) != 4+len(name) {
			return fmt.Errorf("rank %d sent no NCCL version: start all ranks with the same lathe", rank)
		}
		if theirs := int(binary.LittleEndian.Uint32(m)); theirs != int(binary.LittleEndian.Uint32(all[0])) {
			return fmt.Errorf("rank %d has NCCL %s, rank 0 has %s: install the same on all hosts", rank, versionText(theirs), versionText(int(binary.LittleEndian.Uint32(all[0]))))
		}
	}
	copy(name[:], all[0][4:])
	return g.open(name)
}

// open waits in NCCL for the other ranks, and gives up when one of them has ended: NCCL itself would wait on.
func (g *Group) open(name id) error {
	type made struct {
		comm comm
		err  error
	}
	answer := make(chan made, 1)
	go func() {
		var m made
		m.err = g.dev.Lend("join NCCL", nil, func(driver.Stream, []cuda.Span) (err error) {
			m.comm, err = newComm(g.Size(), name, g.Rank())
			return err
		})
		answer <- m
	}()
	select {
	case m := <-answer:
		g.mu.Lock()
		g.comm = m.comm
		g.mu.Unlock()
		return m.err
	case <-g.Failed():
		return g.Err()
	}
}

// pollEvery is how often NCCL is asked whether it has noticed a failure.
const pollEvery = 200 * time.Millisecond

// watch ends NCCL's waiting when a rank has ended, and the group when NCCL has failed.
func (g *Group) watch() {
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for {
		select {
		case <-g.done:
			return
		case <-g.Failed():
			g.abort()
			return
		case <-ticker.C:
		}
		if !g.mu.TryLock() { // something is being queued
			continue
		}
		var err error
		if !g.comm.isNil() {
			err = g.comm.failure()
		}
		g.mu.Unlock()
		if err != nil {
			select { // a rank that has ended is the better reason, and known in a moment
			case <-g.Failed():
			case <-g.done:
			case <-time.After(time.Second):
				g.Abandon(err)
			}
			g.abort()
			return
		}
	}
}

// abort ends the communicator. A call that queues work and has not come back after a while waits for a rank that is gone: it
// is ended too.
func (g *Group) abort() {
	for range 20 {
		if g.mu.TryLock() {
			defer g.mu.Unlock()
			if !g.comm.isNil() {
				g.comm.abort()
				g.comm = comm{}
			}
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	g.comm.abort() // while it is in use: the process ends next
}

// SumAll adds F32 buffers over all GPUs, on the device's stream.
func (g *Group) SumAll(buffers []compute.Buffer) error {
	for _, b := range buffers {
		if b.DType() != compute.F32 {
			return fmt.Errorf("sum over ranks: a buffer is %s, not float32", b.DType())
		}
	}
	return g.collect("SumAll", buffers, func(s driver.Stream, spans []cuda.Span) error { return g.comm.sum(spans, s) })
}

// Broadcast copies rank 0's buffers to all GPUs, on the device's stream.
func (g *Group) Broadcast(buffers []compute.Buffer) error {
	return g.collect("Broadcast", buffers, func(s driver.Stream, spans []cuda.Span) error { return g.comm.broadcast(spans, s) })
}

func (g *Group) collect(op string, buffers []compute.Buffer, call func(driver.Stream, []cuda.Span) error) error {
	if err := g.Err(); err != nil {
		return err
	}
	g.mu.Lock()
	released := g.comm.isNil()
	g.mu.Unlock()
	if released { // on all ranks
		if err := g.connect(); err != nil {
			return err
		}
	}
	err := g.dev.Lend(op, buffers, func(s driver.Stream, spans []cuda.Span) error {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.comm.isNil() {
			return errors.New("the communicator is gone")
		}
		return call(s, spans)
	})
	if ended := g.Err(); ended != nil {
		return ended // the reason of whatever NCCL said
	}
	return err
}

// Release gives NCCL's device memory back; all ranks do so together. The next call makes a new communicator.
func (g *Group) Release() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.comm.isNil() {
		return nil
	}
	old := g.comm
	g.comm = comm{}
	return g.dev.Lend("release NCCL", nil, func(driver.Stream, []cuda.Span) error { return old.destroy() })
}

// Abandon ends the group for all ranks, with this rank's reason.
func (g *Group) Abandon(reason error) {
	g.Control.Abandon(reason)
	g.once.Do(func() { close(g.done) })
	g.abort()
}

// Close leaves the group.
func (g *Group) Close() error {
	err := g.Control.Close()
	g.once.Do(func() { close(g.done) })
	if g.Err() != nil {
		g.abort()
		return err
	}
	return errors.Join(err, g.Release())
}

// hint says what to do about a ncclResult_t.
func hint(result int) string {
	switch result {
	case 1: // ncclUnhandledCudaError
		return "CUDA failed inside NCCL: is every rank on a GPU of its own (LOCAL_RANK), with memory to spare? NCCL_DEBUG=WARN says more"
	case 2: // ncclSystemError
		return "the system refused NCCL a socket or shared memory: in a container give it --ipc=host or --shm-size=1g; NCCL_SOCKET_IFNAME names the network; NCCL_DEBUG=WARN says more"
	case 4, 5: // ncclInvalidArgument, ncclInvalidUsage
		return "two ranks may be on one GPU: give each its own (LOCAL_RANK, CUDA_VISIBLE_DEVICES); NCCL_DEBUG=WARN says more"
	case 6: // ncclRemoteError
		return "another rank's NCCL failed or its network is gone: look at its own output"
	}
	return "NCCL_DEBUG=WARN says more"
}

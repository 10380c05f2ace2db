package distributed

import (
	"fmt"

	"lathe/compute"
)

// Host is a group of devices whose memory is the host's: gradients go to rank 0, which adds them in the order of the ranks and
// sends the sums back.
type Host struct {
	*Control
	dev compute.Device
}

var _ compute.Group = (*Host)(nil)

// NewHost makes a group of ranks that have met.
func NewHost(c *Control, dev compute.Device) *Host { return &Host{c, dev} }

// Release has nothing to give back.
func (*Host) Release() error { return nil }

// chunk is how many float32 travel at a time, 4 MiB.
const chunk = 1 << 20

// SumAll adds F32 buffers over all ranks.
func (h *Host) SumAll(buffers []compute.Buffer) error {
	if err := h.Err(); err != nil {
		return err
	}
	total := 0
	for _, b := range buffers {
		if b.DType() != compute.F32 {
			return fmt.Errorf("sum over ranks: a buffer is %s, not float32", b.DType())
		}
		total += b.Len()
	}
	values := make([]float32, total)
	rest := values
	for _, b := range buffers {
		h.dev.Download(compute.Bytes(rest[:b.Len()]), b)
		rest = rest[b.Len():]
	}
	if err := h.dev.Sync(); err != nil {
		return err
	}
	for at := 0; at < total; at += chunk {
		if err := h.sum(values[at:min(at+chunk, total)]); err != nil {
			return err
		}
	}
	rest = values
	for _, b := range buffers {
		compute.Upload(h.dev, b, rest[:b.Len()])
		rest = rest[b.Len():]
	}
	return nil
}

// sum adds a chunk.
func (h *Host) sum(values []float32) error {
	data := compute.Bytes(values)
	if h.launch.Rank > 0 {
		if err := h.give(h.peers[0], frameSum, data); err != nil {
			return err
		}
		sums, err := h.take(h.peers[0], frameSum)
		if err == nil && len(sums) != len(data) {
			err = h.uneven(h.peers[0], len(sums), len(data))
		}
		copy(data, sums)
		return err
	}
	for _, p := range h.connected() {
		theirs, err := h.take(p, frameSum)
		if err != nil {
			return err
		}
		if len(theirs) != len(data) {
			return h.uneven(p, len(theirs), len(data))
		}
		x := make([]float32, len(values))
		copy(compute.Bytes(x), theirs)
		for i, v := range x {
			values[i] += v
		}
	}
	for _, p := range h.connected() {
		if err := h.give(p, frameSum, data); err != nil {
			return err
		}
	}
	return nil
}

// Broadcast copies rank 0's buffers to all.
func (h *Host) Broadcast(buffers []compute.Buffer) error {
	if err := h.Err(); err != nil {
		return err
	}
	for _, b := range buffers {
		data := make([]byte, compute.ByteLen(b))
		if h.launch.Rank == 0 {
			h.dev.Download(data, b)
			if err := h.dev.Sync(); err != nil {
				return err
			}
		}
		for at := 0; at < len(data); at += 4 * chunk {
			if err := h.copy(data[at:min(at+4*chunk, len(data))]); err != nil {
				return err
			}
		}
		if h.launch.Rank > 0 {
			h.dev.Upload(b, data)
		}
	}
	return h.dev.Sync()
}

func (h *Host) copy(data []byte) error {
	if h.launch.Rank > 0 {
		theirs, err := h.take(h.peers[0], frameBroadcast)
		if err == nil && len(theirs) != len(data) {
			err = h.uneven(h.peers[0], len(theirs), len(data))
		}
		copy(data, theirs)
		return err
	}
	for _, p := range h.connected() {
		if err := h.give(p, frameBroadcast, data); err != nil {
			return err
		}
	}
	return nil
}

// uneven ends a group whose ranks hold tensors of different sizes.
func (h *Host) uneven(p *peer, theirs, ours int) error {
	err := fmt.Errorf("%s sent %d bytes of tensors where this rank has %d: the ranks were started with different models or adapters", p.name, theirs, ours)
	h.fail(err, nil)
	return err
}

package distributed

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A frame is a kind, a length (uint32, little-endian) and so many bytes.
const (
	frameGather    = 'g' // a rank's message, or all of them
	frameSum       = 's' // float32 to be summed, or their sums
	frameBroadcast = 'b' // rank 0's bytes
	frameBeat      = '.' // still alive
	frameFailed    = '!' // why the group ends
	frameBye       = 'x' // an orderly end
)

// maxFrame bounds what a length may ask to be allocated.
const maxFrame = 256 << 20

type frame struct {
	kind byte
	data []byte
}

// peer is the connection to another rank: rank 0 has one to each, the others one to rank 0.
type peer struct {
	rank   int
	name   string // "rank 1 (host gpu-3, process 4711)"
	conn   net.Conn
	input  io.Reader
	silent atomic.Int32 // ticks of the watch since the last byte

	writing sync.Mutex
	frames  chan frame    // closed after the last one
	left    atomic.Bool   // it said goodbye
	done    chan struct{} // closed when nothing more is read
}

// Read counts a byte that came as a sign of life.
func (p *peer) Read(b []byte) (int, error) {
	n, err := p.conn.Read(b)
	if n > 0 {
		p.silent.Store(0)
	}
	return n, err
}

func (p *peer) send(kind byte, data []byte) error {
	if len(data) > maxFrame {
		return fmt.Errorf("a message of %d bytes is too long", len(data))
	}
	head := [5]byte{kind}
	binary.LittleEndian.PutUint32(head[1:], uint32(len(data)))
	p.writing.Lock()
	defer p.writing.Unlock()
	b := net.Buffers{head[:], data}
	_, err := b.WriteTo(p.conn)
	return err
}

func (p *peer) receive() (frame, error) {
	var head [5]byte
	if _, err := io.ReadFull(p.input, head[:]); err != nil {
		return frame{}, err
	}
	n := binary.LittleEndian.Uint32(head[1:])
	if n > maxFrame {
		return frame{}, errors.New("it sent what no rank sends")
	}
	f := frame{kind: head[0], data: make([]byte, n)}
	_, err := io.ReadFull(p.input, f.data)
	return f, err
}

// sendWithin is send for last words: it does not wait for somebody who does not listen.
func (p *peer) sendWithin(d time.Duration, kind byte, data []byte) {
	_ = p.conn.SetWriteDeadline(time.Now().Add(d))
	_ = p.send(kind, data) // there is nobody left to tell
}

// hangUp ends this side and waits a moment for the other one, whose answer would otherwise reset the connection before our
// last words are read.
func (p *peer) hangUp(wait time.Duration) {
	if half, ok := p.conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
		select {
		case <-p.done:
		case <-time.After(wait):
		}
	}
	_ = p.conn.Close()
}

// pack writes several messages as one; unpack takes them apart.
func pack(messages [][]byte) []byte {
	var all []byte
	for _, m := range messages {
		all = binary.LittleEndian.AppendUint32(all, uint32(len(m)))
		all = append(all, m...)
	}
	return all
}

func unpack(all []byte, n int) ([][]byte, error) {
	messages := make([][]byte, n)
	for i := range messages {
		if len(all) < 4 || int64(len(all)-4) < int64(binary.LittleEndian.Uint32(all)) {
			return nil, errors.New("a message is cut short")
		}
		size := int(binary.LittleEndian.Uint32(all))
		messages[i], all = all[4:4+size:4+size], all[4+size:]
	}
	return messages, nil
}

package model

import (
	"encoding/binary"
	"fmt"
	"sync"

	"lathe/compute"
	"lathe/model/safetensors"
)

// A file is read in chunks of chunkBytes, at most readAhead of them before they are taken.
const (
	chunkBytes = 8 << 20
	readAhead  = 3
)

// chunk is a part of a job's bytes, in the type that goes to the device.
type chunk struct {
	job  *job
	to   int64  // where it goes, in bytes of job.to
	data []byte // of a buffer that reuse takes back
	read int    // bytes of the file
	last bool   // of the job
	err  error
}

// reading reads jobs one after the other in a goroutine of its own, so that the disk works while the device quantises.
type reading struct {
	chunks  chan chunk
	buffers chan []byte
	quit    chan struct{}
	ended   sync.WaitGroup
}

func startReading(jobs []job) *reading {
	r := &reading{chunks: make(chan chunk, readAhead), buffers: make(chan []byte, readAhead), quit: make(chan struct{})}
	for range readAhead {
		r.buffers <- nil // made when there is something to read into it
	}
	r.ended.Go(func() {
		defer close(r.chunks)
		for i := range jobs {
			if !r.read(&jobs[i]) {
				return
			}
		}
	})
	return r
}

// reuse takes back the buffer of a chunk that has been used.
func (r *reading) reuse(p chunk) { r.buffers <- p.data[:chunkBytes] }

// stop ends the reading early, and waits for it.
func (r *reading) stop() {
	close(r.quit)
	r.ended.Wait()
}

// read reads one job and says whether to go on.
func (r *reading) read(j *job) bool {
	size := int64(len(j.src.Data))
	for at := int64(0); at < size; {
		var buffer []byte
		select {
		case buffer = <-r.buffers:
		case <-r.quit:
			return false
		}
		if buffer == nil {
			buffer = make([]byte, chunkBytes)
		}
		p := chunk{job: j, to: at, data: buffer[:min(chunkBytes, size-at)]}
		p.read = len(p.data)
		p.last = at+int64(p.read) == size
		p.err = p.fill(at)
		select {
		case r.chunks <- p:
		case <-r.quit:
			return false
		}
		if p.err != nil {
			return false
		}
		at += int64(p.read)
	}
	return true
}

// fill reads, checks and, for float64, narrows the bytes.
func (p *chunk) fill(at int64) error {
	src := p.job.src
	if err := p.job.set.ReadAt(src, p.data, at); err != nil {
		return err
	}
	if !p.job.finite {
		return nil
	}
	if i := firstNonFinite(safetensors.Tensor{DType: src.DType, Data: p.data}); i >= 0 {
		return fmt.Errorf("element %d is NaN or infinite; the file is damaged, or training diverged before it was saved", at*8/src.DType.Bits()+int64(i))
	}
	if src.DType != safetensors.F64 {
		return nil
	}
	n := len(p.data) / 8
	values, err := safetensors.Float32s(safetensors.Tensor{Name: src.Name, DType: src.DType, Shape: []int64{int64(n)}, Data: p.data})
	if err != nil {
		return err
	}
	p.to, p.data = p.to/2, p.data[:copy(p.data, compute.Bytes(values))]
	return nil
}

// exponents are, for each type, the exponent bits of the elements in eight bytes, and one in the lowest of them: where all
// exponent bits are set (NaN, infinity), adding it carries into the sign's place.
var exponents = map[safetensors.DType]struct {
	mask, one, sign uint64
	size            int
}{
	safetensors.F64:  {0x7ff0000000000000, 0x0010000000000000, 0x8000000000000000, 8},
	safetensors.F32:  {0x7f8000007f800000, 0x0080000000800000, 0x8000000080000000, 4},
	safetensors.BF16: {0x7f807f807f807f80, 0x0080008000800080, 0x8000800080008000, 2},
	safetensors.F16:  {0x7c007c007c007c00, 0x0400040004000400, 0x8000800080008000, 2},
}

// firstNonFinite is the index of the first NaN or infinity, -1 when there is none.
func firstNonFinite(t safetensors.Tensor) int {
	e, ok := exponents[t.DType]
	if !ok {
		return -1
	}
	const stride = 64 // bytes that are looked at together: it is nearly always none of them
	at := 0
	for ; at+stride <= len(t.Data); at += stride {
		var bad uint64
		for words := t.Data[at : at+stride]; len(words) >= 16; words = words[16:] {
			bad |= binary.LittleEndian.Uint64(words)&e.mask + e.one
			bad |= binary.LittleEndian.Uint64(words[8:])&e.mask + e.one
		}
		if bad&e.sign != 0 {
			break
		}
	}
	for ; at+e.size <= len(t.Data); at += e.size {
		var last [8]byte
		copy(last[:], t.Data[at:at+e.size])
		if (binary.LittleEndian.Uint64(last[:])&e.mask+e.one)&e.sign != 0 {
			return at / e.size
		}
	}
	return -1
}

package model

import (
	"fmt"
	"hash/crc32"
	"sync"
	"sync/atomic"

	"lathe/compute"
	"lathe/model/safetensors"
)

// partBytes are read, checked and quantised at once: they stay in a core's own cache from one to the other.
const partBytes = 512 << 10

// loadParts brings tensors into the host's memory by several goroutines, each of which takes one after the other in the order of the files.
// A part of a tensor that is held in another form than it comes in is brought into that form as soon as it is read, so that nobody holds the
// tensor as it is stored; most of the time of the others goes to the system, which clears each page at its first touch. Files are read rather
// than mapped: a mapping would cost nothing, but whoever wrote into the file during a run would change the run.
func (b *base) loadParts(host compute.HostMemory, f *Files, jobs []job, count func(read int)) error {
	l := &partLoading{host: host, jobs: jobs, reads: make(chan int, 64), errs: make([]error, len(jobs))}
	l.failed.Store(int64(len(jobs)))
	loaders := make([]partLoader, compute.Loaders(b.rule))
	size, scales := b.loaderBytes(f.stored)
	for i := range loaders {
		space, err := b.dev.Alloc(compute.U8, size)
		if err != nil {
			return err
		}
		defer space.Free()
		loaders[i] = partLoader{partLoading: l, part: space.Slice(scales, partBytes), scales: space.Slice(0, scales).As(compute.F32)}
	}
	var working sync.WaitGroup
	for i := range loaders {
		working.Go(loaders[i].run)
	}
	go func() {
		working.Wait()
		close(l.reads)
	}()
	for n := range l.reads {
		count(n)
	}
	if first := l.failed.Load(); first < int64(len(jobs)) {
		return fmt.Errorf("tensor %s: %w", jobs[first].src.Name, l.errs[first])
	}
	return nil
}

// partHost is the host's memory where tensors are loaded in parts, else nil.
func (b *base) partHost() compute.HostMemory {
	if compute.Loaders(b.rule) == 0 {
		return nil
	}
	return compute.HostOf(b.dev)
}

// loaderBytes is what one loader holds, and how much of it is for scales that are to be quantised themselves.
func (b *base) loaderBytes(as func(tensorSpec) stored) (size, scales int) {
	for i := range b.tensors {
		t := &b.tensors[i]
		if q := t.weight.Quant; q != nil && q.Codes != nil && !t.comesAs(as(t.tensorSpec)) {
			scales = max(scales, 4*q.Codes.Len())
		}
	}
	return scales + partBytes, scales
}

// partLoading is what loaders share.
type partLoading struct {
	host   compute.HostMemory
	jobs   []job
	next   atomic.Int64 // job to be taken
	failed atomic.Int64 // the first job that failed; those behind it need not be done
	reads  chan int     // bytes
	errs   []error      // of jobs
}

// partLoader is one of them, with memory of its own.
type partLoader struct {
	*partLoading
	part, scales compute.Buffer
}

func (l *partLoader) run() {
	for {
		i := l.next.Add(1) - 1
		if i >= int64(len(l.jobs)) || i > l.failed.Load() {
			return
		}
		if l.errs[i] = l.load(i, &l.jobs[i]); l.errs[i] != nil {
			l.fail(i)
		}
	}
}

// fail makes i the first job that failed, unless one before it did: which one is told does not depend on who was quicker.
func (l *partLoading) fail(i int64) {
	for now := l.failed.Load(); i < now; now = l.failed.Load() {
		if l.failed.CompareAndSwap(now, i) {
			return
		}
	}
}

// load reads one tensor.
func (l *partLoader) load(i int64, j *job) error {
	var scales compute.Buffer
	w := j.weight()
	if w.Quant != nil && w.Quant.Codes != nil {
		scales = l.scales.Slice(0, w.Quant.Codes.Len())
	}
	for at, size := 0, len(j.src.Data); at < size && i < l.failed.Load(); at += partBytes {
		p := chunk{job: j, to: int64(at), data: l.place(j, at, min(partBytes, size-at))}
		p.read = len(p.data)
		if err := p.fill(int64(at)); err != nil {
			return j.blame(err)
		}
		if j.sums != nil && crc32.Checksum(p.data, castagnoli) != j.sums[at/partBytes] {
			return errCache
		}
		if err := l.settle(p, w, scales); err != nil {
			return err
		}
		l.reads <- p.read
	}
	if scales != nil {
		return l.host.FillScales(w, scales)
	}
	return nil
}

// blame makes an error in reading a file of the cache one of the cache.
func (j *job) blame(err error) error {
	if j.sums != nil {
		return fmt.Errorf("%w: %w", errCache, err)
	}
	return err
}

// place is where a part is read to: its own place where it stays as it is.
func (l *partLoader) place(j *job, at, n int) []byte {
	if j.tensor == nil && j.src.DType != safetensors.F64 {
		return l.host.HostBytes(j.to)[at : at+n]
	}
	return l.host.HostBytes(l.part)[:n]
}

// settle gives a part the form in which its tensor is held.
func (l *partLoader) settle(p chunk, w compute.Weight, scales compute.Buffer) error {
	switch {
	case p.job.tensor != nil:
		src := l.part.Slice(0, len(p.data)).As(p.job.dtype)
		return l.host.FillPart(w, scales, int(p.to)/p.job.dtype.Size(), src)
	case p.job.src.DType == safetensors.F64:
		copy(l.host.HostBytes(p.job.to)[p.to:], p.data)
	}
	return nil
}

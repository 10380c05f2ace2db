package model

import (
	"fmt"
	"sync"
	"sync/atomic"

	"lathe/compute"
	"lathe/model/safetensors"
)

const (
	placeBytes   = 1 << 20 // read at once, and checked while a cache holds it
	placeReaders = 8       // at most
)

// readInPlace reads the tensors that are held as they are stored into the device's own memory, where that is the host's, by several
// goroutines: most of the time goes to the system, which clears each page at its first touch. It returns the jobs that are left. The
// file is read rather than mapped: a mapping would cost nothing, but whoever wrote into the file during a run would change the run.
func (b *base) readInPlace(set *safetensors.Set, jobs []job, count func(read int)) (left []job, err error) {
	host, ok := b.dev.(compute.HostMemory)
	if !ok {
		return jobs, nil
	}
	var here []placeJob
	for i := range jobs {
		j := &jobs[i]
		to := host.HostBytes(j.to)
		if j.tensor == nil && j.src.DType != safetensors.F64 && len(to) == len(j.src.Data) {
			here = append(here, placeJob{job: j, to: to})
		} else {
			left = append(left, *j)
		}
	}
	var stop atomic.Bool
	var readers sync.WaitGroup
	reads := make(chan int)
	for _, share := range shares(here, min(b.dev.Info().Threads, placeReaders)) {
		readers.Go(func() {
			for i := range share {
				if share[i].err = share[i].read(set, &stop, reads); share[i].err != nil {
					stop.Store(true)
				}
			}
		})
	}
	go func() {
		readers.Wait()
		close(reads)
	}()
	for n := range reads {
		count(n)
	}
	for i := range here {
		if here[i].err != nil {
			return nil, fmt.Errorf("tensor %s: %w", here[i].job.src.Name, here[i].err)
		}
	}
	return left, nil
}

// placeJob is a job that is read into its place.
type placeJob struct {
	job *job
	to  []byte
	err error
}

// shares cuts jobs into n parts of about as many bytes. Each is of neighbours: two readers in one of the system's large pages would
// clear it twice.
func shares(jobs []placeJob, n int) (parts [][]placeJob) {
	var total, before, first int
	for _, j := range jobs {
		total += len(j.to)
	}
	for i, j := range jobs {
		before += len(j.to)
		if part := len(parts) + 1; before*n >= total*part || i == len(jobs)-1 {
			parts = append(parts, jobs[first:i+1])
			first = i + 1
		}
	}
	return parts
}

func (j *placeJob) read(set *safetensors.Set, stop *atomic.Bool, reads chan<- int) error {
	for at := 0; at < len(j.to) && !stop.Load(); at += placeBytes {
		p := chunk{job: j.job, data: j.to[at:min(at+placeBytes, len(j.to))]}
		if err := p.fill(set, int64(at)); err != nil {
			return err
		}
		reads <- len(p.data)
	}
	return nil
}

package model

import (
	"cmp"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"lathe/compute"
	"lathe/model/safetensors"
)

// keeping is the writing of a file of the cache, while the model is used already.
type keeping struct {
	file *quantFile
	quit atomic.Bool
	done sync.WaitGroup
}

// errQuit ends a writing whose model is freed.
var errQuit = errors.New("the model is freed")

// keep begins to write quantised weights to the cache. What cannot be written is quantised again the next time, which is no fault.
func (b *base) keep(f *Files, q *quantFile) {
	if now, _, ok := f.identity(); !q.settled || !ok || now != q.identity {
		return
	}
	tensors := b.quantised(f)
	k := &keeping{file: q}
	b.keeping = k
	host := b.partHost()
	k.done.Go(func() { _ = k.write(host, tensors) })
}

// stop ends the writing, and waits for that: the weights are read until then.
func (k *keeping) stop() {
	if k != nil {
		k.quit.Store(true)
		k.done.Wait()
	}
}

// write writes the file under another name, and gives it its own when all of it is on the disk.
func (k *keeping) write(host compute.HostMemory, tensors []*tensor) error {
	q := k.file
	if err := os.MkdirAll(q.Dir, 0o700); err != nil {
		return err
	}
	if free, ok := diskFree(q.Dir); ok && free < 4*q.bytes { // runs need it more
		return fmt.Errorf("%s: %s are free, of which at most a quarter is taken", q.Dir, compute.Gib(free))
	}
	if err := q.makeRoom(); err != nil {
		return err
	}
	var sources []safetensors.Source
	var sums strings.Builder
	for _, t := range tensors {
		for i, buffer := range t.made() {
			data := host.HostBytes(buffer)
			for part := range slices.Chunk(data, partBytes) {
				if k.quit.Load() {
					return errQuit
				}
				fmt.Fprintf(&sums, "%08x ", crc32.Checksum(part, castagnoli))
			}
			sources = append(sources, safetensors.Source{
				Name: cachedName(t, i), DType: safetensors.U8, Shape: []int64{int64(len(data))},
				Data: func() ([]byte, error) {
					if k.quit.Load() {
						return nil, errQuit
					}
					return data, nil
				},
			})
		}
	}
	return safetensors.WriteSources(q.path, sources, map[string]string{"key": q.key, "crc32c": sums.String()})
}

// makeRoom removes what a process that was killed has left, and files that were not used for longest where there would be too much.
func (q *quantFile) makeRoom() error {
	entries, err := os.ReadDir(q.Dir)
	if err != nil {
		return err
	}
	var kept []os.FileInfo
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		half, _ := filepath.Match("."+cacheFiles+".tmp-*", e.Name())
		whole, _ := filepath.Match(cacheFiles, e.Name())
		switch {
		case half && time.Since(info.ModTime()) > time.Hour: // nobody writes it any more
			_ = os.Remove(filepath.Join(q.Dir, e.Name())) // or the next time
		case whole:
			kept = append(kept, info)
		}
	}
	slices.SortFunc(kept, func(x, y os.FileInfo) int { return cmp.Compare(y.ModTime().UnixNano(), x.ModTime().UnixNano()) })
	total := q.bytes
	for _, info := range kept {
		if total += info.Size(); total > q.MaxBytes {
			if err := os.Remove(filepath.Join(q.Dir, info.Name())); err != nil {
				return err
			}
			total -= info.Size()
		}
	}
	return nil
}

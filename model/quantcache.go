package model

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"lathe/compute"
	"lathe/model/safetensors"
)

// QuantCache keeps weights that were quantised while they were read, for the next time: one file for each checkpoint and quantisation, which
// is a quarter of what else has to be read. Its zero value keeps nothing. Devices whose memory is not the host's go without.
type QuantCache struct {
	Dir      string
	MaxBytes int64 // of all files together; the ones that were not used for longest go first
	MinBytes int64 // of a model's quantised weights: smaller ones are quantised before anybody notices
}

// cacheFiles is how the files in QuantCache.Dir are named.
const cacheFiles = "*.safetensors"

// Held is how many files the cache has, and their size.
func (c QuantCache) Held() (files int, bytes int64) {
	entries, _ := os.ReadDir(c.Dir) // a folder that is not there holds nothing
	for _, e := range entries {
		ours, _ := filepath.Match(cacheFiles, e.Name())
		if info, err := e.Info(); ours && err == nil {
			files, bytes = files+1, bytes+info.Size()
		}
	}
	return files, bytes
}

// cacheVersion is part of every key: it changes whenever quantising the same weights would give other bytes, or the file another layout.
const cacheVersion = "lathe quantised weights, 1"

// settling is how old a checkpoint has to be: a file that changes twice within one tick of its file system's clock looks the same afterwards.
var settling = 2 * time.Second

// errCache marks a file of the cache that does not hold what it should.
var errCache = errors.New("the file of quantised weights is damaged")

// castagnoli is the polynomial of CRC-32C, for which processors have an instruction.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// quantFile is the file of one checkpoint in the cache.
type quantFile struct {
	QuantCache
	path, key string
	identity  string // of the checkpoint
	bytes     int64
	settled   bool                // the checkpoint is old enough for its times to tell a change
	set       *safetensors.Set    // nil where there is nothing to be read
	sums      map[string][]uint32 // CRC-32C of each part of each tensor
}

// openCache finds the file that belongs to a checkpoint; nil where none is to be read or written.
func (b *base) openCache(f *Files) *quantFile {
	q := &quantFile{QuantCache: b.options.Cache}
	if q.Dir == "" || b.partHost() == nil {
		return nil
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s %t\n", cacheVersion, b.options.QuantType, b.options.DoubleQuant)
	for _, t := range b.quantised(f) {
		fmt.Fprintf(h, "%q %d %d\n", t.name, t.weight.Out, t.weight.In)
		q.bytes += t.weight.Bytes()
	}
	if q.bytes == 0 || q.bytes < q.MinBytes || q.bytes > q.MaxBytes {
		return nil
	}
	identity, changed, ok := f.identity()
	if !ok {
		return nil
	}
	q.settled = time.Since(changed) > settling
	q.identity = identity
	fmt.Fprint(h, identity)
	q.key = hex.EncodeToString(h.Sum(nil))
	q.path = filepath.Join(q.Dir, q.key[:32]+".safetensors")
	q.read(b.quantised(f))
	return q
}

// quantised lists the tensors that are quantised while they are read.
func (b *base) quantised(f *Files) (all []*tensor) {
	for i := range b.tensors {
		if t := &b.tensors[i]; t.weight.Quant != nil && f.stored(t.tensorSpec).quant == nil {
			all = append(all, t)
		}
	}
	return all
}

// identity tells the checkpoint's files from all others and from what they were before: device, inode, size, and the times of the last
// change of content and of inode, the second of which no program can set. Whoever reads gigabytes to hash them has quantised them as well.
func (f *Files) identity() (text string, changed time.Time, ok bool) {
	infos, err := f.set.Stat()
	if err != nil || len(infos) == 0 {
		return "", changed, false
	}
	for _, info := range infos {
		one, when, ok := fileIdentity(info)
		if !ok {
			return "", changed, false
		}
		text += one + "\n"
		if when.After(changed) {
			changed = when
		}
	}
	return text, changed, true
}

// read opens the file; one that is not whole is taken away.
func (q *quantFile) read(tensors []*tensor) {
	set, err := safetensors.Open(q.path)
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	if err == nil {
		q.set = set
		err = q.check(tensors)
	}
	if err != nil {
		q.discard()
		return
	}
	now := time.Now()
	_ = os.Chtimes(q.path, now, now) // it was used: what cannot be noted makes it go earlier
}

// check compares the file with the buffers that it is to fill.
func (q *quantFile) check(tensors []*tensor) error {
	meta := q.set.Metadata()
	if meta["key"] != q.key {
		return errCache
	}
	sums := strings.Fields(meta["crc32c"])
	q.sums = map[string][]uint32{}
	for _, t := range tensors {
		for i, buffer := range t.made() {
			name := cachedName(t, i)
			x, ok := q.set.Tensor(name)
			parts := (len(x.Data) + partBytes - 1) / partBytes
			if !ok || int64(len(x.Data)) != compute.ByteLen(buffer) || len(sums) < parts {
				return errCache
			}
			for _, text := range sums[:parts] {
				sum, err := strconv.ParseUint(text, 16, 32)
				if err != nil {
					return errCache
				}
				q.sums[name] = append(q.sums[name], uint32(sum))
			}
			sums = sums[parts:]
		}
	}
	return nil
}

// made are the buffers that quantising writes: all but the map of scales, which it reads. A damaged file must not reach that one.
func (t *tensor) made() []compute.Buffer {
	return slices.DeleteFunc(t.weight.Buffers(), func(b compute.Buffer) bool { return b == t.weight.Quant.Map })
}

// cachedName is the name of one of a weight's buffers.
func cachedName(t *tensor, buffer int) string { return fmt.Sprintf("%s %d", t.name, buffer) }

// jobs bring a weight's buffers to where they belong, as they are.
func (q *quantFile) jobs(t *tensor) (jobs []job) {
	for i, buffer := range t.made() {
		name := cachedName(t, i)
		x, _ := q.set.Tensor(name)
		jobs = append(jobs, job{set: q.set, src: x, to: buffer, sums: q.sums[name]})
	}
	return jobs
}

// holds says whether quantised weights are to be read from the file.
func (q *quantFile) holds() bool { return q != nil && q.set != nil }

// close lets go of the file.
func (q *quantFile) close() {
	if q.holds() {
		_ = q.set.Close() // it was only read
		q.set = nil
	}
}

// discard takes a file away that does not hold what it should.
func (q *quantFile) discard() {
	q.close()
	_ = os.Remove(q.path) // what stays will be found damaged again
}

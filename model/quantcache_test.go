//go:build linux

package model

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"lathe/compute"
	"lathe/internal/alloctest"
	"lathe/model/safetensors"
)

// cacheFor is a cache of a test's own, which trusts files that are as young as a test's.
func cacheFor(t *testing.T) QuantCache {
	before := settling
	settling = 0
	t.Cleanup(func() { settling = before })
	return QuantCache{Dir: filepath.Join(t.TempDir(), "cache"), MaxBytes: 1 << 30}
}

// cachedFiles lists what lies in the cache's folder.
func cachedFiles(t *testing.T, c QuantCache) []string {
	t.Helper()
	entries, err := os.ReadDir(c.Dir)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, filepath.Join(c.Dir, e.Name()))
	}
	return names
}

// loadBytes loads a model, waits for what it writes, and gives its weights' buffers and the bytes that were read.
func loadBytes(t *testing.T, dir string, o LoadOptions) (all map[string][]byte, read int64) {
	t.Helper()
	dev := openDevice(t)
	m, err := Load(dev, openFiles(t, dir), o, func(_, total int64) { read = total })
	if err != nil {
		t.Fatal(err)
	}
	defer m.Free()
	if m.keeping != nil {
		m.keeping.done.Wait()
	}
	all = map[string][]byte{}
	for _, x := range m.tensors {
		for i, buffer := range x.weight.Buffers() {
			all[cachedName(&x, i)] = slices.Clone(compute.HostOf(dev).HostBytes(buffer))
		}
	}
	return all, read
}

func sameBytes(t *testing.T, got, want map[string][]byte) {
	t.Helper()
	for name := range want {
		if !bytes.Equal(got[name], want[name]) {
			t.Errorf("%s differs", name)
		}
	}
}

// TestQuantCache: weights from the cache are the bytes that quantising gives, for each kind of quantisation a file of its own.
func TestQuantCache(t *testing.T) {
	dir, cache := writeAs(t, partsConfig(), safetensors.BF16), cacheFor(t)
	kinds := []LoadOptions{
		{Quant4: true, DoubleQuant: true, KeepDType: true}, {Quant4: true}, {Quant4: true, DoubleQuant: true, QuantType: compute.FP4},
	}
	for i, o := range kinds {
		want, whole := loadBytes(t, dir, o)
		o.Cache = cache
		for round := range 3 {
			got, read := loadBytes(t, dir, o)
			sameBytes(t, got, want)
			if hit := read < whole; hit != (round > 0) {
				t.Errorf("%+v, round %d: %d of %d bytes were read", o, round, read, whole)
			}
			if files := cachedFiles(t, cache); len(files) != i+1 {
				t.Errorf("the cache holds %q", files)
			}
		}
	}
	if _, read := loadBytes(t, dir, LoadOptions{Cache: cache}); read != loadedBytes(t, dir) {
		t.Errorf("what is not quantised is read from elsewhere: %d bytes", read)
	}
}

func loadedBytes(t *testing.T, dir string) int64 { return openFiles(t, dir).Bytes() }

// A checkpoint that has changed is quantised anew, whatever its times say.
func TestQuantCacheOfAnotherCheckpoint(t *testing.T) {
	dir, o := writeAs(t, partsConfig(), safetensors.BF16), LoadOptions{Quant4: true, DoubleQuant: true, Cache: cacheFor(t)}
	path := filepath.Join(dir, safetensors.SingleFile)
	loadBytes(t, dir, o)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(20 * time.Millisecond) // more than a tick of the system's clock for files
	set, err := safetensors.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	x, _ := set.Tensor("model.layers.0.mlp.up_proj.weight")
	_, at := set.Position(x)
	set.Close()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{0x20, 0x3f}, at+2*7000); err != nil { // 0.625
		t.Fatal(err)
	}
	f.Close()
	if err := os.Chtimes(path, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	want, _ := loadBytes(t, dir, LoadOptions{Quant4: true, DoubleQuant: true})
	got, read := loadBytes(t, dir, o)
	sameBytes(t, got, want)
	if read != loadedBytes(t, dir) {
		t.Error("the old weights were looked at")
	}
	settling = time.Hour
	o.Cache.Dir += "-young"
	if loadBytes(t, dir, o); len(cachedFiles(t, o.Cache)) != 0 {
		t.Error("a checkpoint that may still change is kept")
	}
}

// A damaged file is ignored, and written again: wherever it is damaged, cut, or another file.
func TestQuantCacheDamaged(t *testing.T) {
	dir, o := writeAs(t, partsConfig(), safetensors.BF16), LoadOptions{Quant4: true, DoubleQuant: true, Cache: cacheFor(t)}
	want, _ := loadBytes(t, dir, o)
	path := cachedFiles(t, o.Cache)[0]
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	damage := map[string][]byte{"empty": nil, "cut": whole[:len(whole)-1], "half": whole[:len(whole)/2], "longer": append(slices.Clone(whole), 0)}
	for i := range 20 { // the header, and everything behind it
		at := i * 397
		if i >= 12 {
			at = len(whole) - 1 - (i-12)*(len(whole)/9)
		}
		flipped := slices.Clone(whole)
		flipped[at] ^= 1 << (i % 8)
		damage[fmt.Sprint("bit in byte ", at)] = flipped
	}
	for name, content := range damage {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(path, content, 0o644); err != nil {
				t.Fatal(err)
			}
			got, _ := loadBytes(t, dir, o)
			sameBytes(t, got, want)
			if again, err := os.ReadFile(path); err != nil || !bytes.Equal(again, whole) {
				t.Errorf("the file is not whole again: %v", err)
			}
			if files := cachedFiles(t, o.Cache); len(files) != 1 {
				t.Errorf("the cache holds %q", files)
			}
		})
	}
}

// The files that were not used for longest make room; what a killed process left goes when it is old.
func TestQuantCacheMakesRoom(t *testing.T) {
	dir, o := writeAs(t, partsConfig(), safetensors.BF16), LoadOptions{Quant4: true, DoubleQuant: true, Cache: cacheFor(t)}
	loadBytes(t, dir, o)
	first := cachedFiles(t, o.Cache)[0]
	info, err := os.Stat(first)
	if err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-48 * time.Hour)
	write := func(name string, size int64, at time.Time) string {
		path := filepath.Join(o.Cache.Dir, name)
		if err := os.WriteFile(path, make([]byte, size), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
		return path
	}
	oldest := write("a.safetensors", 10_000, old)
	left := write(".b.safetensors.tmp-17", 1000, old)
	young := write(".c.safetensors.tmp-18", 1000, time.Now())
	other := write("notes.txt", 1000, old)
	o.DoubleQuant = false // another file
	elsewhere := o
	elsewhere.Cache.Dir += "-elsewhere"
	loadBytes(t, dir, elsewhere)
	second, err := os.Stat(cachedFiles(t, elsewhere.Cache)[0])
	if err != nil {
		t.Fatal(err)
	}
	o.Cache.MaxBytes = info.Size() + second.Size() + 5_000
	loadBytes(t, dir, o)
	files := cachedFiles(t, o.Cache)
	for path, stays := range map[string]bool{first: true, oldest: false, left: false, young: true, other: true} {
		if slices.Contains(files, path) != stays {
			t.Errorf("%s stays: %t, want %t", path, !stays, stays)
		}
	}
	o.QuantType, o.Cache.MaxBytes = compute.FP4, info.Size()/2
	if loadBytes(t, dir, o); len(cachedFiles(t, o.Cache)) != len(files) {
		t.Error("a file larger than the cache is written")
	}
	o.Cache.MaxBytes, o.Cache.MinBytes = 1<<30, 1<<30
	if loadBytes(t, dir, o); len(cachedFiles(t, o.Cache)) != len(files) {
		t.Error("a file smaller than what is worth it is written")
	}
}

const cacheChild = "LATHE_CACHE_CHILD"

// TestCacheChild is no test of its own: it is the process that TestQuantCacheKilled kills, and that cannot write where the disk is full.
func TestCacheChild(t *testing.T) {
	dir := os.Getenv(cacheChild)
	if dir == "" {
		t.Skip("not run: it is the child of other tests")
	}
	settling = 0
	loadBytes(t, dir, LoadOptions{Quant4: true, DoubleQuant: true, Cache: QuantCache{Dir: filepath.Join(dir, "cache"), MaxBytes: 1 << 30}})
	fmt.Println("loaded")
}

// child is this test program as TestCacheChild, behind a shell's words.
func child(dir, words string) *exec.Cmd {
	cmd := exec.Command("sh", "-c", words+` exec "$0" -test.run='^TestCacheChild$'`, os.Args[0])
	cmd.Env = append(os.Environ(), cacheChild+"="+dir)
	return cmd
}

// Whenever a process is killed, there is a whole file or none.
func TestQuantCacheKilled(t *testing.T) {
	if alloctest.Instrumented {
		t.Skip("not run: under the race detector the times of a process are others")
	}
	dir, o := writeAs(t, partsConfig(), safetensors.BF16), LoadOptions{Quant4: true, DoubleQuant: true, Cache: cacheFor(t)}
	want, _ := loadBytes(t, dir, LoadOptions{Quant4: true, DoubleQuant: true})
	o.Cache.Dir = filepath.Join(dir, "cache")
	seen := map[bool]int{}
	for round := range 12 {
		if err := os.RemoveAll(o.Cache.Dir); err != nil {
			t.Fatal(err)
		}
		cmd := child(dir, "")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for began := time.Now(); len(cachedFiles(t, o.Cache)) == 0 && time.Since(began) < 10*time.Second; {
			time.Sleep(100 * time.Microsecond)
		}
		time.Sleep(time.Duration(round%8) * 4 * time.Millisecond)
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
		whole, _ := filepath.Glob(filepath.Join(o.Cache.Dir, cacheFiles))
		seen[len(whole) > 0]++
		got, _ := loadBytes(t, dir, o)
		sameBytes(t, got, want)
	}
	t.Logf("killed before the file had its name %d times, after %d times", seen[false], seen[true])
}

// A full disk leaves nothing behind, and the model loads.
func TestQuantCacheFullDisk(t *testing.T) {
	dir := writeAs(t, partsConfig(), safetensors.BF16)
	out, err := child(dir, "ulimit -f 64;").CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("loaded")) {
		t.Fatalf("%v: %s", err, out)
	}
	if files := cachedFiles(t, QuantCache{Dir: filepath.Join(dir, "cache")}); len(files) != 0 {
		t.Errorf("the cache holds %q", files)
	}
}

// A model that is freed at once leaves no part of a file.
func TestQuantCacheFreedAtOnce(t *testing.T) {
	dir, o := writeAs(t, partsConfig(), safetensors.BF16), LoadOptions{Quant4: true, DoubleQuant: true, Cache: cacheFor(t)}
	for range 10 {
		m, err := Load(openDevice(t), openFiles(t, dir), o, nil)
		if err != nil {
			t.Fatal(err)
		}
		m.Free()
		for _, name := range cachedFiles(t, o.Cache) {
			if ok, _ := filepath.Match(cacheFiles, filepath.Base(name)); !ok {
				t.Fatalf("%s is left", name)
			}
		}
		if err := os.RemoveAll(o.Cache.Dir); err != nil {
			t.Fatal(err)
		}
	}
}

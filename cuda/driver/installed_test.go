package driver

import (
	"bytes"
	"errors"
	"os"
	"testing"
)

// TestInstalledDriver makes a round trip through the driver that LATHE_CUDA_DRIVER names or the host has: a GPU's, or the
// emulated one.
func TestInstalledDriver(t *testing.T) {
	d, err := Open("")
	if errors.Is(err, ErrNoDriver) && os.Getenv(EnvPath) == "" {
		t.Skip("no CUDA driver here, and " + EnvPath + " names none")
	}
	check(t, err)
	devices, err := d.Devices()
	check(t, err)
	t.Logf("%s through %s, CUDA %s: %+v", d.Path(), d.Backend(), versionString(d.Version()), devices)
	c, err := d.NewContext(0)
	check(t, err)
	defer c.Close()
	s, err := c.NewStream()
	check(t, err)
	p, err := c.Alloc(2 << 20)
	check(t, err)
	want := bytes.Repeat([]byte("lathe..."), 1<<17)
	check(t, c.CopyIn(p, want, s))
	check(t, c.Copy(p+1<<20, p, 1<<20, s))
	check(t, c.Set(p, 0, 1<<20, s))
	got := make([]byte, 2<<20)
	check(t, c.CopyOut(got, p, s))
	if !bytes.Equal(got[:1<<20], make([]byte, 1<<20)) || !bytes.Equal(got[1<<20:], want) {
		t.Error("what came back is not what went in")
	}
	check(t, c.Free(p))
	check(t, c.DestroyStream(s))
	if _, err := c.Load([]byte("no code")); !errors.Is(err, ErrJIT) {
		t.Errorf("a damaged module: %v", err)
	}
}

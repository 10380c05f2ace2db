package session

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lathe/compute"
)

// reader is a made-up set of gauges.
type reader struct {
	read   func() ([]Gauge, error)
	closed chan struct{}
}

func (r *reader) Read() ([]Gauge, error) { return r.read() }

func (r *reader) Close() error {
	close(r.closed)
	return nil
}

func openReader(read func() ([]Gauge, error)) (func() (GaugeReader, error), *reader) {
	r := &reader{read: read, closed: make(chan struct{})}
	return func() (GaugeReader, error) { return r, nil }, r
}

// poll runs a poller for a time and returns what it has shown.
func poll(t *testing.T, open func() (GaugeReader, error), d time.Duration) (shown []GaugesRead) {
	t.Helper()
	p := &gaugePoller{open: open, every: gaugeEvery, patience: gaugePatience, show: func(g GaugesRead) { shown = append(shown, g) }}
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	p.run(ctx)
	return shown
}

// Gauges are shown when they have moved by a step, and only then: an hour of trembling is one frame.
func TestGaugesStandStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reads := 0
		open, r := openReader(func() ([]Gauge, error) {
			reads++
			tremble := reads % 2
			return []Gauge{{Label: "GPU 0", Busy: 92 + 2*tremble, Power: 388 + 3*tremble, Temperature: 63 + tremble, Used: int64(60<<30 + tremble*(7<<20))}}, nil
		})
		shown := poll(t, open, time.Hour+gaugeEvery/2)
		<-r.closed
		if reads != 3601 || len(shown) != 1 {
			t.Errorf("%d readings and %d frames in an hour, want 3601 and 1: %+v", reads, len(shown), shown)
		}
	})
}

// A driver that takes half a second for an answer is asked less often; one that cannot be opened is tried again, seldom.
func TestGaugesBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow, refused := 0, 0
		open, _ := openReader(func() ([]Gauge, error) {
			slow++
			time.Sleep(500 * time.Millisecond)
			return []Gauge{{Label: "GPU 0"}}, nil
		})
		poll(t, open, time.Minute)
		shown := poll(t, func() (GaugeReader, error) {
			refused++
			return nil, errors.New("open NVML: no permission")
		}, time.Minute+time.Second)
		if slow != 3 || refused != 3 || len(shown) != 1 || shown[0].Err != "open NVML: no permission" {
			t.Errorf("a slow driver was asked %d times in a minute, one that refuses %d times, shown %+v", slow, refused, shown)
		}
		synctest.Wait()
	})
}

// A call that hangs leaves the last numbers on screen and says that they are old; the poller ends all the same, and where the driver
// comes back so do the gauges.
func TestGaugesHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, back := range []time.Duration{time.Minute, time.Hour} {
			stuck := make(chan struct{})
			time.AfterFunc(back, func() { close(stuck) })
			reads := 0
			open, r := openReader(func() ([]Gauge, error) {
				if reads++; reads == 3 {
					<-stuck
				}
				return []Gauge{{Label: "GPU 0", Busy: min(10*reads, 40)}}, nil
			})
			shown := poll(t, open, 2*time.Minute+gaugeEvery/2)
			if len(shown) < 3 || !strings.HasPrefix(shown[2].Err, "these numbers are old: ") || shown[2].GPUs[0].Busy != 20 {
				t.Errorf("shown %+v", shown)
			}
			if last := shown[len(shown)-1]; back == time.Minute {
				<-r.closed
				if last.Err != "" || last.GPUs[0].Busy != 40 {
					t.Errorf("after the driver came back: %+v", last)
				}
			} else if len(shown) != 3 {
				t.Errorf("while the driver hangs: %+v", shown)
			}
			<-stuck
			synctest.Wait()
		}
	})
}

// A reader that panics is a gauge that says so.
func TestGaugesPanic(t *testing.T) {
	open, _ := openReader(func() ([]Gauge, error) { panic("a bug") })
	shown := poll(t, open, 20*time.Millisecond)
	if len(shown) != 1 || !strings.Contains(shown[0].Err, "a bug") {
		t.Errorf("shown %+v", shown)
	}
}

func TestStep(t *testing.T) {
	for _, c := range [][4]int{ // what is shown, what is read, the step, what is shown then
		{0, 388, 10, 390},
		{390, 399, 10, 390},
		{390, 400, 10, 400},
		{390, 381, 10, 390},
		{390, 380, 10, 380},
		{390, 0, 10, 0},
		{390, Unknown, 10, Unknown},
		{Unknown, 3, 10, 3},
		{0, 1, 5, 1},
		{0, 100, 5, 100},
	} {
		if got := step(c[0], c[1], c[2]); got != c[3] {
			t.Errorf("%d after %d in steps of %d is shown as %d, want %d", c[1], c[0], c[2], got, c[3])
		}
	}
}

// A session whose driver hangs does its work, shows what it can and ends.
func TestSessionWithGauges(t *testing.T) {
	stuck := make(chan struct{})
	defer close(stuck)
	reads := 0
	open, _ := openReader(func() ([]Gauge, error) {
		if reads++; reads > 1 {
			<-stuck
		}
		return []Gauge{{Label: "GPU 3", InUse: true, Busy: 40}}, nil
	})
	asked := make(chan compute.Info, 8)
	s, err := Open(Options{
		Dir: t.TempDir(), Device: "dry", OpenDevice: func(string) (compute.Device, error) { return compute.NewDry(), nil },
		OpenGauges: func(info compute.Info) (GaugeReader, error) {
			asked <- info
			return open()
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.deviceInfo() // opens the device
	v := wait(t, s, "the gauges", func(v View) bool { return len(v.Gauges.GPUs) > 0 })
	if info := <-asked; info.Kind != "dry" || v.Gauges.GPUs[0].Label != "GPU 3" {
		t.Errorf("gauges of a %s device: %+v", info.Kind, v.Gauges)
	}
	time.Sleep(gaugeEvery + 50*time.Millisecond) // the second reading hangs now
	if err := s.Do(Note{Text: "still here"}); err != nil {
		t.Error(err)
	}
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("a driver that hangs holds up the session's end")
	}
}

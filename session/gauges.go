package session

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"sync/atomic"
	"time"

	"lathe/compute"
)

// Gauge is what one GPU's own gauges say: of the GPU, or of the MIG slice of it that is computed on.
type Gauge struct {
	// Label is the place in the host's list, "GPU 3"; Name is the maker's.
	Label, Name string
	// InUse tells that the session's device computes on it.
	InUse bool
	// Total and Used are bytes of all processes, Own those of this one.
	Total, Used, Own int64
	// Others hold memory as well, most first.
	Others []Holder
	// Busy is the percentage of time in which a kernel ran. It, Power and PowerLimit (watts), Temperature (°C) and the clocks (MHz) are
	// Unknown where the GPU does not tell, as are Used and Own.
	Busy, Power, PowerLimit, Temperature, ClockSM, ClockMemory int
	// Throttle says what holds the clocks down.
	Throttle []string
	// Note is a state that needs words.
	Note string
}

// Unknown is a number that a GPU does not tell.
const Unknown = -1

// Holder is another process with memory of a GPU; Bytes may be Unknown.
type Holder struct {
	Name  string
	Bytes int64
}

// GaugeReader reads gauges. Read may take its time; it is never called twice at once.
type GaugeReader interface {
	Read() ([]Gauge, error)
	Close() error
}

// How often gauges are read, how long a driver may take before its numbers are called old, and how far apart readings get where
// they are slow.
const (
	gaugeEvery    = time.Second
	gaugePatience = 5 * time.Second
	gaugeSlowest  = 30 * time.Second
	gaugeShare    = 50 // reading takes at most this part of the time
)

// gaugePoller reads gauges until its context ends. Whatever the driver does, run returns when the context ends: a call that hangs
// is left behind with its goroutine.
type gaugePoller struct {
	open            func() (GaugeReader, error)
	show            func(GaugesRead)
	every, patience time.Duration

	// The rest belongs to whichever goroutine reads.
	reader GaugeReader
	none   bool // the device has no gauges
}

func (p *gaugePoller) run(ctx context.Context) {
	answers := make(chan GaugesRead, 1) // has room for an answer that nobody waits for any more
	var shown GaugesRead
	show := func(g GaugesRead) {
		if !reflect.DeepEqual(g, shown) {
			shown = g
			p.show(g)
		}
	}
	for wait := time.Duration(0); ; {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			go p.close()
			return
		}
		began := time.Now()
		go func() { answers <- p.read() }()
		g, ok := p.answer(ctx, answers, func() { show(old(shown, p.patience)) })
		if !ok || p.none {
			return
		}
		show(settle(shown, g))
		wait = min(max(p.every, gaugeShare*time.Since(began)), gaugeSlowest)
		if g.Err != "" {
			wait = max(p.every, gaugeSlowest)
		}
	}
}

// answer waits for a reading, and tells once when it is late; false says that the context has ended.
func (p *gaugePoller) answer(ctx context.Context, answers <-chan GaugesRead, late func()) (GaugesRead, bool) {
	impatient := time.NewTimer(p.patience)
	defer impatient.Stop()
	for {
		select {
		case g := <-answers:
			return g, true
		case <-impatient.C:
			late()
		case <-ctx.Done():
			return GaugesRead{}, false
		}
	}
}

// read opens the gauges at its first call, and again after they could not be opened: a driver may come back.
func (p *gaugePoller) read() (g GaugesRead) {
	defer func() {
		if r := recover(); r != nil {
			g = GaugesRead{Err: fmt.Sprintf("gauges: internal error: %v", r)}
		}
	}()
	if p.reader == nil {
		reader, err := p.open()
		if err != nil {
			return GaugesRead{Err: err.Error()}
		}
		if reader == nil {
			p.none = true
			return GaugesRead{}
		}
		p.reader = reader
	}
	gpus, err := p.reader.Read()
	if err != nil {
		return GaugesRead{Err: err.Error()}
	}
	return GaugesRead{GPUs: gpus}
}

func (p *gaugePoller) close() {
	if p.reader != nil {
		_ = p.reader.Close() // nothing is lost with it
	}
}

// old is a reading that no newer one has followed.
func old(g GaugesRead, patience time.Duration) GaugesRead {
	g.Err = fmt.Sprintf("the driver has not answered for %v: a GPU may have hung (dmesg names it: NVRM, Xid)", patience)
	if len(g.GPUs) > 0 {
		g.Err = "these numbers are old: " + g.Err
	}
	return g
}

// The steps in which gauges move: a number that trembles must not redraw a screen.
const (
	memoryStep      = 16 << 20
	busyStep        = 5
	powerStep       = 10
	temperatureStep = 2
	clockStep       = 30
)

// settle is a new reading in coarse steps. A number that has moved by less than a step stays as it is shown.
func settle(shown, g GaugesRead) GaugesRead {
	g.GPUs = slices.Clone(g.GPUs)
	for i := range g.GPUs {
		var last Gauge
		if i < len(shown.GPUs) && shown.GPUs[i].Label == g.GPUs[i].Label {
			last = shown.GPUs[i]
		}
		g.GPUs[i].settle(last)
	}
	return g
}

func (g *Gauge) settle(last Gauge) {
	for _, n := range []struct {
		value      *int
		last, step int
	}{
		{&g.Busy, last.Busy, busyStep},
		{&g.Power, last.Power, powerStep},
		{&g.Temperature, last.Temperature, temperatureStep},
		{&g.ClockSM, last.ClockSM, clockStep},
		{&g.ClockMemory, last.ClockMemory, clockStep},
	} {
		*n.value = step(n.last, *n.value, n.step)
	}
	g.Used, g.Own = step(last.Used, g.Used, memoryStep), step(last.Own, g.Own, memoryStep)
	g.Others = slices.Clone(g.Others)
	for i := range g.Others {
		var before int64
		if i < len(last.Others) && last.Others[i].Name == g.Others[i].Name {
			before = last.Others[i].Bytes
		}
		g.Others[i].Bytes = step(before, g.Others[i].Bytes, memoryStep)
	}
}

// step is a value on a grid, or what was shown of it where that is less than a step away. 0 and Unknown are shown at once.
func step[T int | int64](last, value, size T) T {
	if value <= 0 {
		return value
	}
	if last > 0 && max(value, last)-min(value, last) < size {
		return last
	}
	return max((value+size/2)/size*size, min(value, size))
}

// watchGauges begins to poll the gauges of a device that has just been opened.
func (s *Session) watchGauges(info compute.Info) {
	if s.options.OpenGauges == nil {
		return
	}
	var latest atomic.Pointer[GaugesRead]
	p := &gaugePoller{
		open: func() (GaugeReader, error) { return s.options.OpenGauges(info) }, every: gaugeEvery, patience: gaugePatience,
		show: func(g GaugesRead) {
			if latest.Swap(&g) != nil {
				return // the one before waits still, and takes this with it
			}
			s.queue.post(func() { s.publish(0, *latest.Swap(nil)) })
		},
	}
	go p.run(s.ctx)
}

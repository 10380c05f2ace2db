// Package profile keeps account of a device's operations: how often each ran, how long, and what its arguments say that it computes and
// moves.
package profile

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"lathe/compute"
)

// Profile is a device that keeps account of its operations. A device without one pays nothing. It is used as the device, by one goroutine
// at a time.
type Profile struct {
	compute.Device
	timer  Timer
	since  time.Time
	rows   map[operationKey]*Operation
	spans  []span // operations that ran, not yet in rows
	depth  int    // operations that run now, one inside the other
	inside []time.Duration

	steps int
	// OnStep, where it is set, is called behind the optimiser's update of each step, the first is 1, by the goroutine that uses the device:
	// a place for Report and Reset, which nobody else may call while operations run.
	OnStep func(step int)
}

// Timer is a device that knows when its own work was done, where that is not when an operation's call returns.
type Timer interface {
	// Mark is the number of a place in the device's work, behind all that was asked for so far.
	Mark() int
	// Between waits for the work before two marks and is the device's time from one to the other.
	Between(from, to int) time.Duration
	// Unmark forgets all marks.
	Unmark()
}

// Composite is a device some of whose operations are made of others: they run on what Through names, which may be a Profile of it.
type Composite interface{ Through(compute.Device) }

// span is one operation that ran: its marks, and how many others it ran inside.
type span struct {
	row      *Operation
	from, to int
	depth    int
}

// mostSpans are kept before they are booked, for which a GPU's are waited for.
const mostSpans = 1 << 16

// Operation is what one operation, on one shape, did since Reset. Operations inside another one (the products of
// LinearCrossEntropy) have rows of their own, and their time is not in the outer one's.
type Operation struct {
	Name    string  `json:"name"`
	Shape   string  `json:"shape,omitempty"` // such as "[2048,640]·nf4[1728,640]ᵀ", empty in a row for all shapes
	Calls   int64   `json:"calls"`
	Seconds float64 `json:"seconds"`
	// FLOPs are two an element of a product, and what the formula says elsewhere; Bytes are each buffer's once where it is read
	// and once where it is written, as if caches were perfect.
	FLOPs float64 `json:"flops"`
	Bytes float64 `json:"bytes"`
}

// operationKey tells operations apart; shape is put into words only in the end.
type operationKey struct {
	name, weight string // weight is the type of a product's
	n, out, in   int
}

func (k operationKey) shape() string {
	switch {
	case k.weight != "":
		return fmt.Sprintf("[%d,%d]·%s[%d,%d]", k.n, k.in, k.weight, k.out, k.in)
	case k.in > 0:
		return fmt.Sprintf("[%d,%d,%d]", k.n, k.out, k.in)
	case k.out > 0:
		return fmt.Sprintf("[%d,%d]", k.n, k.out)
	}
	return fmt.Sprintf("[%d]", k.n)
}

// call is one operation to be timed.
type call struct {
	operationKey
	flops, bytes float64
}

// New keeps account of a device's operations from here on. Whoever uses d itself is not seen.
func New(d compute.Device) *Profile {
	p := &Profile{Device: d, timer: &clock{device: d}}
	if t, ok := d.(Timer); ok {
		p.timer = t
	}
	if c, ok := d.(Composite); ok {
		c.Through(p)
	}
	p.Reset()
	return p
}

// Unwrap is the device that is kept account of.
func (p *Profile) Unwrap() compute.Device { return p.Device }

// Finisher is a device that runs operations on the calling goroutine, when it is asked to finish or when it has to.
type Finisher interface{ Finish() }

// clock times a device's operations by the host's.
type clock struct {
	device compute.Device
	marks  []time.Time
}

func (c *clock) Mark() int {
	if f, ok := c.device.(Finisher); ok {
		f.Finish()
	}
	c.marks = append(c.marks, time.Now())
	return len(c.marks) - 1
}

func (c *clock) Between(from, to int) time.Duration { return c.marks[to].Sub(c.marks[from]) }
func (c *clock) Unmark()                            { c.marks = c.marks[:0] }

// Reset forgets what was counted.
func (p *Profile) Reset() {
	p.timer.Unmark()
	p.spans, p.inside = p.spans[:0], nil
	p.since, p.rows = time.Now(), map[operationKey]*Operation{}
}

// time runs an operation and notes when.
func (p *Profile) time(c call, run func()) {
	row := p.rows[c.operationKey]
	if row == nil {
		row = &Operation{Name: c.name}
		p.rows[c.operationKey] = row
	}
	from := p.timer.Mark()
	p.depth++
	run()
	p.depth--
	row.Calls++
	row.FLOPs += c.flops
	row.Bytes += c.bytes
	p.spans = append(p.spans, span{row, from, p.timer.Mark(), p.depth})
	if p.depth == 0 && len(p.spans) >= mostSpans {
		p.settle()
	}
}

// step ends a step.
func (p *Profile) step() {
	p.steps++
	if p.OnStep != nil {
		p.OnStep(p.steps)
	}
}

// settle books the time of the operations that ran. One that others ran inside comes after them, and has what they left of its time.
// What the booking itself takes, once the device is done, is nobody's time.
func (p *Profile) settle() {
	if len(p.spans) == 0 {
		return
	}
	p.timer.Between(p.spans[0].from, p.spans[len(p.spans)-1].to)
	began := time.Now()
	for _, s := range p.spans {
		for len(p.inside) < s.depth+2 {
			p.inside = append(p.inside, 0)
		}
		took := p.timer.Between(s.from, s.to)
		s.row.Seconds += (took - p.inside[s.depth+1]).Seconds()
		p.inside[s.depth+1] = 0
		p.inside[s.depth] += took
	}
	p.spans, p.inside = p.spans[:0], nil
	p.timer.Unmark()
	p.since = p.since.Add(time.Since(began))
}

// Report is what ran since Reset, the longest first, and the seconds since then: what no operation took is the host's. With
// shapes each shape of an operation has a row of its own.
func (p *Profile) Report(shapes bool) (rows []Operation, seconds float64) {
	p.settle()
	seconds = time.Since(p.since).Seconds()
	sums := map[[2]string]*Operation{}
	for key, row := range p.rows {
		id := [2]string{key.name}
		if shapes {
			id[1] = key.shape()
		}
		sum := sums[id]
		if sum == nil {
			sum = &Operation{Name: id[0], Shape: id[1]}
			sums[id] = sum
		}
		sum.Calls += row.Calls
		sum.Seconds += row.Seconds
		sum.FLOPs += row.FLOPs
		sum.Bytes += row.Bytes
	}
	for _, sum := range sums {
		rows = append(rows, *sum)
	}
	slices.SortFunc(rows, func(a, b Operation) int {
		return cmp.Or(cmp.Compare(b.Seconds, a.Seconds), strings.Compare(a.Name+a.Shape, b.Name+b.Shape))
	})
	return rows, seconds
}

// bytesOf is the size of the buffers that are there.
func bytesOf(buffers ...compute.Buffer) (sum float64) {
	for _, b := range buffers {
		if b != nil {
			sum += float64(compute.ByteLen(b))
		}
	}
	return sum
}

// lenOf is the number of elements of a buffer that may be missing, which the operation itself refuses.
func lenOf(b compute.Buffer) int {
	if b == nil {
		return 0
	}
	return b.Len()
}

func when(condition bool, x float64) float64 {
	if condition {
		return x
	}
	return 0
}

// weightType names a weight's elements.
func weightType(w compute.Weight) string {
	switch {
	case w.Quant != nil:
		return w.Quant.Type.String()
	case w.Data != nil:
		return w.Data.DType().String()
	}
	return "?"
}

func weightBytes(w compute.Weight) float64 {
	sum := bytesOf(w.Data)
	if q := w.Quant; q != nil {
		sum += bytesOf(q.Absmax, q.Codes, q.Nested, q.Map, q.Offset)
	}
	return sum
}

// attentionPairs is the number of pairs of a query and a key that it sees, over all spans.
func attentionPairs(s compute.AttentionShape) (pairs float64) {
	for _, span := range s.Spans {
		if s.NoCausal {
			pairs += float64(span.QLen) * float64(span.KLen)
			continue
		}
		for i := range span.QLen {
			sees := span.KLen - span.QLen + i + 1
			if s.Window > 0 && sees > s.Window {
				sees = s.Window + min(s.Prefix, sees-s.Window)
			}
			pairs += float64(max(sees, s.Prefix))
		}
	}
	return pairs
}

// seenKeys is the share of the rows of K and V that some span has: a cache is longer than what it holds.
func seenKeys(s compute.AttentionShape) float64 {
	rows := 0
	for _, span := range s.Spans {
		rows += span.KLen
	}
	return min(1, float64(rows)/float64(max(s.NK, 1)))
}

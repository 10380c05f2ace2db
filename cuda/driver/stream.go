package driver

import "time"

// Stream is a queue of work on the device; 0 is the default stream. Streams of NewStream have no hidden order with it:
// order between streams comes from events.
type Stream uintptr

// Event is a mark in a stream.
type Event uintptr

// NewStream makes a stream.
func (c *Context) NewStream() (Stream, error) {
	var s Stream
	err := c.do("cuStreamCreate", func() (r Result) {
		s, r = c.api.streamCreate()
		return r
	})
	return s, err
}

// DestroyStream gives a stream back; what is in it still runs.
func (c *Context) DestroyStream(s Stream) error {
	if s == 0 {
		return nil
	}
	return c.do("cuStreamDestroy", func() Result { return c.api.streamDestroy(s) })
}

// Sync waits until all that the stream holds has run.
func (c *Context) Sync(s Stream) error {
	return c.do("cuStreamSynchronize", func() Result { return c.api.streamSync(s) })
}

// SyncAll waits for every stream of the context.
func (c *Context) SyncAll() error { return c.do("cuCtxSynchronize", c.api.synchronize) }

// NewEvent makes an event that keeps the time.
func (c *Context) NewEvent() (Event, error) {
	var e Event
	err := c.do("cuEventCreate", func() (r Result) {
		e, r = c.api.eventCreate()
		return r
	})
	return e, err
}

// DestroyEvent gives an event back.
func (c *Context) DestroyEvent(e Event) error {
	if e == 0 {
		return nil
	}
	return c.do("cuEventDestroy", func() Result { return c.api.eventDestroy(e) })
}

// Record puts the event behind what the stream holds now.
func (c *Context) Record(e Event, s Stream) error {
	return c.do("cuEventRecord", func() Result { return c.api.eventRecord(e, s) })
}

// WaitEvent lets the stream's later work wait for the event.
func (c *Context) WaitEvent(s Stream, e Event) error {
	return c.do("cuStreamWaitEvent", func() Result { return c.api.streamWait(s, e) })
}

// Elapsed waits for b and is the device's time from a to b, to about half a microsecond.
func (c *Context) Elapsed(a, b Event) (time.Duration, error) {
	var ms float32
	err := c.do("cuEventElapsedTime", func() (r Result) {
		if r = c.api.eventSync(b); r == Success {
			ms, r = c.api.eventElapsed(a, b)
		}
		return r
	})
	return time.Duration(float64(ms) * float64(time.Millisecond)), err
}

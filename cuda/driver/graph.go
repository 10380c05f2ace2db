package driver

// Graph is captured work that the device runs again as one.
type Graph struct {
	c           *Context
	graph, exec uintptr
}

// BeginCapture records what the stream gets from now on instead of running it. Only a stream of NewStream can capture, and
// nothing may wait for it meanwhile, so no CopyIn or CopyOut either.
func (c *Context) BeginCapture(s Stream) error {
	return c.do("cuStreamBeginCapture", func() Result { return c.api.beginCapture(s) })
}

// EndCapture ends the recording and makes it ready to run.
func (c *Context) EndCapture(s Stream) (*Graph, error) {
	g := &Graph{c: c}
	err := c.do("cuStreamEndCapture", func() (r Result) {
		g.graph, r = c.api.endCapture(s)
		return r
	})
	if err != nil {
		return nil, err
	}
	err = c.do("cuGraphInstantiate", func() (r Result) {
		g.exec, r = c.api.instantiate(g.graph)
		return r
	})
	if err != nil {
		_ = c.do("cuGraphDestroy", func() Result { return c.api.graphDestroy(g.graph) }) // the first error is the one to tell
		return nil, err
	}
	return g, nil
}

// Launch runs the captured work in the stream's order.
func (g *Graph) Launch(s Stream) error {
	return g.c.do("cuGraphLaunch", func() Result { return g.c.api.graphLaunch(g.exec, s) })
}

// Close gives the graph back.
func (g *Graph) Close() error {
	if g.exec == 0 {
		return nil
	}
	err := g.c.do("cuGraphExecDestroy", func() Result { return g.c.api.execDestroy(g.exec) })
	if graphErr := g.c.do("cuGraphDestroy", func() Result { return g.c.api.graphDestroy(g.graph) }); err == nil {
		err = graphErr
	}
	g.exec, g.graph = 0, 0
	return err
}

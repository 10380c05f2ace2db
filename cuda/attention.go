package cuda

import (
	"fmt"

	"lathe/compute"
	"lathe/compute/check"
	"lathe/cuda/driver"
)

const tileThreads = 128 // attention_tile.h's TILE_THREADS

// Attention is compute.Operations' Attention.
func (d *Device) Attention(a compute.Attention) {
	c, s := d.begin("Attention"), a.AttentionShape
	at := c.attention(s)
	out, lse := c.F32("Out", a.Out, s.NQ, s.H, s.D), c.Optional("LSE", a.LSE, s.NQ, s.H)
	q := c.F32("Q", a.Q, s.NQ, s.H, s.D)
	k, v := c.F32("K", a.K, s.NK, s.KV, s.D), c.F32("V", a.V, s.NK, s.KV, s.D)
	if !c.OK {
		return
	}
	at.aligned = s.D%4 == 0 && aligned16(q, k, v, out)
	if queries, _ := check.Covered(s.Spans); queries < s.NQ {
		c.zero(out, s.NQ*s.H*s.D)
		if a.LSE != nil {
			c.zero(lse, s.NQ*s.H)
		}
	}
	f, t := planForward(s), tileOf(s.D, s.Compute)
	size := layout{}
	f.place(&size, s)
	f.place(&layout{at: c.space(size.size)}, s)
	keys, values := k, v
	if t.narrow {
		keys, values = f.k, f.v
		at.pack(c, "keys", &f.packed, driver.P(keys), driver.P(values), driver.P(k), driver.P(v))
	}
	at.launch(c, t, "forward", &f.long, t.forwardShared(t.m), driver.P(q), driver.P(keys), driver.P(values), driver.P(out), driver.P(lse))
	t = tileOf(s.D, compute.F32)
	at.Compute = compute.F32
	at.launch(c, t, "split", &f.split, t.forwardShared(splitRows),
		driver.P(q), driver.P(k), driver.P(v), driver.P(out), driver.P(lse), driver.P(f.part), driver.P(f.lse))
	f.join(c, at, out, lse)
}

// join adds up the chunks of split keys.
func (f *attentionForward) join(c *checked, at attentionArgs, out, lse driver.Ptr) {
	if f.joined.tiles == 0 {
		return
	}
	f.joined.put(c)
	const warps = 4
	l := driver.Launch{Grid: [3]int{blocks(f.joined.tiles, warps), at.KV, 1}, Block: [3]int{32 * warps, 1, 1}}
	c.launch("attention.attention_combine", l, append(at.args(&f.joined),
		driver.P(f.part), driver.P(f.lse), driver.P(out), driver.P(lse), driver.I32(int32(f.joined.tiles)))...)
}

// AttentionBackward is compute.Operations' AttentionBackward.
func (d *Device) AttentionBackward(a compute.AttentionBackward) {
	c, s := d.begin("AttentionBackward"), a.AttentionShape
	at := c.attention(s)
	dq, dout := c.F32("DQ", a.DQ, s.NQ, s.H, s.D), c.F32("DOut", a.DOut, s.NQ, s.H, s.D)
	dk, dv := c.F32("DK", a.DK, s.NK, s.KV, s.D), c.F32("DV", a.DV, s.NK, s.KV, s.D)
	out, lse := c.F32("Out", a.Out, s.NQ, s.H, s.D), c.F32("LSE", a.LSE, s.NQ, s.H)
	q := c.F32("Q", a.Q, s.NQ, s.H, s.D)
	k, v := c.F32("K", a.K, s.NK, s.KV, s.D), c.F32("V", a.V, s.NK, s.KV, s.D)
	c.DisjointKeys(s.Spans)
	if !c.OK {
		return
	}
	at.aligned = s.D%4 == 0 && aligned16(q, k, v, dout, dq, dk, dv)
	queries, keys := check.Covered(s.Spans)
	if queries < s.NQ {
		c.zero(dq, s.NQ*s.H*s.D)
	}
	if keys < s.NK {
		c.zero(dk, s.NK*s.KV*s.D)
		c.zero(dv, s.NK*s.KV*s.D)
	}
	b, t := planBackward(s), tileOf(s.D, s.Compute)
	size := layout{}
	b.place(&size, s)
	b.place(&layout{at: c.space(size.size)}, s)
	c.delta(b.delta, dout, out, s)
	if t.narrow {
		at.pack(c, "rows", &b.packedQueries, driver.P(b.q), driver.P(b.dout), driver.P(q), driver.P(dout))
		at.pack(c, "keys", &b.packedKeys, driver.P(b.k), driver.P(b.v), driver.P(k), driver.P(v))
		q, k, v, dout = b.q, b.k, b.v, b.dout
	}
	operands := []driver.Arg{driver.P(q), driver.P(k), driver.P(v), driver.P(dout), driver.P(lse), driver.P(b.delta)}
	at.launch(c, t, "keys", &b.keys, t.keysShared(), append(operands, driver.P(dk), driver.P(dv))...)
	at.launch(c, t, "queries", &b.queries, t.queriesShared(), append(operands, driver.P(dq))...)
}

// delta is each row's dout·out.
func (c *checked) delta(delta, dout, out driver.Ptr, s compute.AttentionShape) {
	if n := s.NQ * s.H; n > 0 {
		c.launch("attention.attention_delta", rows(blocks(n, blockThreads), blockThreads), driver.P(delta), driver.P(dout), driver.P(out),
			driver.I64(int64(n)), driver.I32(int32(s.D)), flag(s.D%4 == 0 && aligned16(dout, out)))
	}
}

// attentionArgs are the arguments of every kernel of attention.
type attentionArgs struct {
	compute.AttentionShape
	alibi   driver.Ptr
	aligned bool // rows begin at 16 bytes
}

// attention checks what both passes share.
func (c *checked) attention(s compute.AttentionShape) attentionArgs {
	c.Attention(s)
	c.Want(s.D <= attentionHead, "heads of %d elements: the CUDA device has kernels for up to %d", s.D, attentionHead)
	c.Want(s.Compute <= compute.F16, "attention in %s was asked for, this device multiplies in float32, bfloat16 and float16", s.Compute)
	c.Want(s.KV < 1<<16, "%d key heads: the CUDA device takes up to %d", s.KV, 1<<16-1)
	return attentionArgs{AttentionShape: s, alibi: c.Optional("Alibi", s.Alibi, s.H)}
}

// args are attention.h's ATTENTION_ARGS.
func (a attentionArgs) args(l *attentionSpans) []driver.Arg {
	flags := int32(0)
	if a.NoCausal {
		flags |= 1
	}
	if a.aligned {
		flags |= 2
	}
	const far = 1 << 30 // more keys than there are, and positions still add up
	return []driver.Arg{
		driver.P(l.at), driver.I32(int32(len(l.list))), driver.I32(int32(a.H)), driver.I32(int32(a.KV)), driver.I32(int32(a.D)),
		driver.F32(a.Scale), driver.F32(a.Softcap), driver.I32(int32(min(a.Window, far))), driver.I32(int32(min(a.Prefix, far))),
		driver.I32(flags), driver.P(a.alibi),
	}
}

// launch runs attention_KERNEL_TYPE_PAD over the tiles of some spans and all key heads.
func (a attentionArgs) launch(c *checked, t attentionTile, kernel string, l *attentionSpans, shared int, operands ...driver.Arg) {
	if l.tiles == 0 {
		return
	}
	l.put(c)
	shape := driver.Launch{Grid: [3]int{l.tiles, a.KV, 1}, Block: [3]int{tileThreads, 1, 1}, Shared: shared}
	name := fmt.Sprintf("attention_%s_%d.attention_%s_%[1]s_%[2]d", shortType(a.Compute), t.pad, kernel)
	c.launch(name, shape, append(a.args(l), operands...)...)
}

// pack makes 16-bit operands of rows or keys.
func (a attentionArgs) pack(c *checked, what string, l *attentionSpans, operands ...driver.Arg) {
	if l.tiles == 0 {
		return
	}
	l.put(c)
	shape := driver.Launch{Grid: [3]int{l.tiles, a.KV, 1}, Block: [3]int{blockThreads, 1, 1}}
	args := append(append(a.args(l), operands...), driver.I32(int32(tileOf(a.D, a.Compute).pad)))
	c.launch("attention_pack.attention_pack_"+what+"_"+shortType(a.Compute), shape, args...)
}

// shortType is the type's name in those of kernels.
func shortType(t compute.DType) string { return [...]string{"f32", "bf16", "f16"}[t] }

// zero clears n float32.
func (c *checked) zero(p driver.Ptr, n int) {
	if n > 0 {
		c.attempt(func() error { return c.d.ctx.Set(p, 0, 4*int64(n), c.d.stream) })
	}
}

// aligned16 says whether all addresses are multiples of 16.
func aligned16(p ...driver.Ptr) bool {
	for _, p := range p {
		if p%16 != 0 {
			return false
		}
	}
	return true
}

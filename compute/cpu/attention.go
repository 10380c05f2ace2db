package cpu

// #include "queue.h"
import "C"

import (
	"lathe/compute"
	"lathe/compute/check"
)

// Attention is compute.Operations' Attention.
func (d *Device) Attention(a compute.Attention) {
	c := d.begin("Attention")
	args := c.attention(a.AttentionShape)
	args.out, args.lse = c.f32("Out", a.Out, a.NQ, a.H, a.D), c.optional("LSE", a.LSE, a.NQ, a.H)
	args.q = c.f32("Q", a.Q, a.NQ, a.H, a.D)
	args.k, args.v = c.f32("K", a.K, a.NK, a.KV, a.D), c.f32("V", a.V, a.NK, a.KV, a.D)
	c.attentionSpace(&args, a.Spans, false)
	if !c.OK {
		return
	}
	if queries, _ := check.Covered(a.Spans); queries < a.NQ {
		d.Zero(a.Out)
		if a.LSE != nil {
			d.Zero(a.LSE)
		}
	}
	push(d, C.LATHE_QUEUED_attention, &args)
}

// AttentionBackward is compute.Operations' AttentionBackward.
func (d *Device) AttentionBackward(a compute.AttentionBackward) {
	c := d.begin("AttentionBackward")
	args := c.attention(a.AttentionShape)
	args.dq, args.dout = c.f32("DQ", a.DQ, a.NQ, a.H, a.D), c.f32("DOut", a.DOut, a.NQ, a.H, a.D)
	args.dk, args.dv = c.f32("DK", a.DK, a.NK, a.KV, a.D), c.f32("DV", a.DV, a.NK, a.KV, a.D)
	args.out, args.lse = c.f32("Out", a.Out, a.NQ, a.H, a.D), c.f32("LSE", a.LSE, a.NQ, a.H)
	args.q = c.f32("Q", a.Q, a.NQ, a.H, a.D)
	args.k, args.v = c.f32("K", a.K, a.NK, a.KV, a.D), c.f32("V", a.V, a.NK, a.KV, a.D)
	c.DisjointKeys(a.Spans)
	c.attentionSpace(&args, a.Spans, true)
	if !c.OK {
		return
	}
	queries, keys := check.Covered(a.Spans)
	if queries < a.NQ {
		d.Zero(a.DQ)
	}
	if keys < a.NK {
		d.Zero(a.DK)
		d.Zero(a.DV)
	}
	push(d, C.LATHE_QUEUED_attention_backward, &args)
}

// attention is what both passes share.
func (c *checked) attention(s compute.AttentionShape) C.lathe_attention_args {
	c.Attention(s)
	// In bfloat16 nothing is rounded on tiers that do not multiply it faster: float32 is more exact.
	c.Want(s.Compute == compute.F32 || s.Compute == compute.BF16, "attention in %s was asked for, this device multiplies in float32", s.Compute)
	args := attentionSize(s, c.d.threads)
	args.scale, args.softcap, args.window, args.prefix = C.float(s.Scale), C.float(s.Softcap), C.int64_t(s.Window), C.int64_t(s.Prefix)
	args.alibi, args.no_causal = c.optional("Alibi", s.Alibi, s.H), flag(s.NoCausal)
	args.narrow = flag(s.Compute == compute.BF16)
	return args
}

// attentionSize is what the workspace depends on.
func attentionSize(s compute.AttentionShape, threads C.int) C.lathe_attention_args {
	longest := 0
	for _, p := range s.Spans {
		longest = max(longest, p.KLen)
	}
	return C.lathe_attention_args{
		nspans: C.int64_t(len(s.Spans)), longest: C.int64_t(longest), nq: C.int64_t(s.NQ), nk: C.int64_t(s.NK),
		h: C.int64_t(s.H), kv: C.int64_t(s.KV), d: C.int64_t(s.D), by_head: flag(sharesOut(s, int(threads))),
	}
}

// sharesOut says whether key heads keep all threads busy to the end as tasks of a backward pass, or nearly: the longest, which may be
// the last, takes at most a quarter of a thread's time. It decides no bits.
func sharesOut(s compute.AttentionShape, threads int) bool {
	all, longest := 0, 0
	for _, p := range s.Spans {
		all, longest = all+p.QLen*p.KLen, max(longest, p.QLen*p.KLen)
	}
	return all*s.KV >= 4*threads*longest
}

// attentionBytes is the workspace of an attention: the workers' scratch.
func attentionBytes(size *C.lathe_attention_args, backward bool, threads C.int) int64 {
	return 4 * int64(C.lathe_attention_scratch(size, flag(backward), threads))
}

// attentionSpace gives an attention its spans and the workers' scratch.
func (c *checked) attentionSpace(args *C.lathe_attention_args, spans []compute.Span, backward bool) {
	if !c.OK {
		return
	}
	list := make([]C.lathe_span, len(spans))
	for i, s := range spans {
		list[i] = C.lathe_span{
			q_start: C.int64_t(s.QStart), q_len: C.int64_t(s.QLen), k_start: C.int64_t(s.KStart), k_len: C.int64_t(s.KLen),
		}
	}
	space := c.d.workspace(c.Operation(), slotTask, attentionBytes(args, backward, c.d.threads))
	if space == nil {
		c.OK = false
		return
	}
	args.spans, args.scratch = (*C.lathe_span)(hold(c, list)), (*C.float)(space.p)
}

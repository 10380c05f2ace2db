package cpu

// #include "queue.h"
import "C"

import (
	"math"

	"lathe/compute"
	"lathe/compute/check"
)

// Embedding is compute.Operations' Embedding.
func (d *Device) Embedding(a compute.Embedding) {
	c := d.begin("Embedding")
	c.Want(a.C > 0, "C is %d", a.C)
	if !c.OK {
		return
	}
	rows := check.Len(a.Table) / a.C
	args := C.lathe_embedding_args{
		y: c.f32("Y", a.Y, a.N, a.C), table: c.Float("Table", a.Table, rows, a.C),
		ids: c.indices("IDs", a.IDs, a.N, rows, -1<<31), n: C.int64_t(a.N), c: C.int64_t(a.C), scale: C.float(a.Scale),
	}
	if c.OK {
		args._type = C.int(a.Table.DType())
		push(d, C.LATHE_QUEUED_embedding, &args)
	}
}

// EmbeddingBackward is compute.Operations' EmbeddingBackward.
func (d *Device) EmbeddingBackward(a compute.EmbeddingBackward) {
	c := d.begin("EmbeddingBackward")
	c.Want(a.C > 0, "C is %d", a.C)
	if !c.OK {
		return
	}
	rows := check.Len(a.DTable) / a.C
	args := C.lathe_embedding_backward_args{
		dtable: c.f32("DTable", a.DTable, rows, a.C), dy: c.f32("DY", a.DY, a.N, a.C),
		ids: c.indices("IDs", a.IDs, a.N, rows, -1<<31), n: C.int64_t(a.N), c: C.int64_t(a.C), scale: C.float(a.Scale),
	}
	if c.OK {
		push(d, C.LATHE_QUEUED_embedding_backward, &args)
	}
}

// GatedActivation is compute.Operations' GatedActivation.
func (d *Device) GatedActivation(a compute.GatedActivation) {
	c, n := d.begin("GatedActivation"), check.Len(a.Y)
	args := C.lathe_gated_args{
		y: c.f32("Y", a.Y, n), gate: c.f32("Gate", a.Gate, n), up: c.f32("Up", a.Up, n), n: C.int64_t(n), act: c.act(a.Act),
	}
	if c.OK {
		push(d, C.LATHE_QUEUED_gated, &args)
	}
}

// GatedActivationBackward is compute.Operations' GatedActivationBackward.
func (d *Device) GatedActivationBackward(a compute.GatedActivationBackward) {
	c, n := d.begin("GatedActivationBackward"), check.Len(a.DY)
	args := C.lathe_gated_backward_args{
		dgate: c.f32("DGate", a.DGate, n), dup: c.f32("DUp", a.DUp, n), dy: c.f32("DY", a.DY, n),
		gate: c.f32("Gate", a.Gate, n), up: c.f32("Up", a.Up, n), n: C.int64_t(n), act: c.act(a.Act),
	}
	if c.OK {
		push(d, C.LATHE_QUEUED_gated_backward, &args)
	}
}

// Activation is compute.Operations' Activation.
func (d *Device) Activation(a compute.Activation) {
	c, n := d.begin("Activation"), check.Len(a.Y)
	args := C.lathe_activation_args{y: c.f32("Y", a.Y, n), x: c.f32("X", a.X, n), n: C.int64_t(n), act: c.act(a.Act)}
	if c.OK {
		push(d, C.LATHE_QUEUED_activation, &args)
	}
}

// ActivationBackward is compute.Operations' ActivationBackward.
func (d *Device) ActivationBackward(a compute.ActivationBackward) {
	c, n := d.begin("ActivationBackward"), check.Len(a.DY)
	args := C.lathe_activation_backward_args{
		dx: c.f32("DX", a.DX, n), dy: c.f32("DY", a.DY, n), x: c.f32("X", a.X, n), n: C.int64_t(n), act: c.act(a.Act),
	}
	if c.OK {
		push(d, C.LATHE_QUEUED_activation_backward, &args)
	}
}

func (c *checked) act(a compute.Act) C.int {
	c.Act(a)
	return C.int(a)
}

// Dropout is compute.Operations' Dropout.
func (d *Device) Dropout(a compute.Dropout) {
	c, n := d.begin("Dropout"), check.Len(a.Y)
	c.Probability("P", a.P)
	args := C.lathe_dropout_args{
		y: c.f32("Y", a.Y, n), x: c.f32("X", a.X, n), n: C.int64_t(n),
		// a draw u is kept when u ≥ P·2³²; a whole u reaches that where it reaches the next whole number
		threshold: C.uint64_t(math.Ceil(float64(a.P) * (1 << 32))), scale: C.float(float64(a.Scale) / (1 - float64(a.P))),
		seed: C.uint64_t(a.Seed), stream: C.uint64_t(a.Stream), accumulate: flag(a.Accumulate),
	}
	if c.OK {
		push(d, C.LATHE_QUEUED_dropout, &args)
	}
}

// Add is compute.Operations' Add.
func (d *Device) Add(a compute.Add) {
	c, n := d.begin("Add"), check.Len(a.Y)
	args := C.lathe_add_args{y: c.f32("Y", a.Y, n), a: c.f32("A", a.A, n), b: c.f32("B", a.B, n), n: C.int64_t(n), scale: C.float(a.Scale)}
	if c.OK {
		push(d, C.LATHE_QUEUED_add, &args)
	}
}

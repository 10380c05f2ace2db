// Package model is a decoder-only language model on a [compute.Device]: its files, its weights, its adapters, a training
// step and generation.
//
// There is one decoder. A family (LLaMA, Mistral, …) is a row of options in a table, read from config.json; the forward
// pass is written once, in forward.go, and records its backward pass on a [tape.Tape]. A [Model] is a cheap view of a base
// and at most one [Adapter]; views of one base share its weights and its workspace, so several checkpoints can be compared
// without loading the base twice. A model and all its views are used by one goroutine at a time.
//
// Batches are flat: the tokens of several sequences one after the other, without padding, and the borders beside them.
package model

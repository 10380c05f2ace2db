// Package trainer fine-tunes a model: it reads run.yaml ([Config]), forecasts memory and time ([Plan]), prepares a run so
// that nothing can run out of memory later ([Prepare]), trains it step by step ([Run.Train]), and keeps checkpoints from
// which a run goes on with the same bits.
//
// A run is one goroutine, that of [Run.Train]: it owns the device. Others steer it through a [Control] and hear of it
// through [Event] values; both take effect at the border between two optimiser steps.
//
// The semantics are those of transformers' Trainer with PEFT's adapters: the schedules, the number of steps, weight decay
// on all but biases and norms, clipping by the global norm, the loss normalised over the whole optimiser step.
package trainer

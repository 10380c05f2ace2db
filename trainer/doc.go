// Package trainer fine-tunes a model: it reads run.yaml ([Config]), forecasts memory and time ([Plan]), prepares a run so
// that nothing can run out of memory later ([Prepare]), trains it step by step ([Run.Train]), and keeps checkpoints from
// which a run goes on with the same bits.
//
// A run is one goroutine, that of [Run.Train]: it owns the device. Others steer it through a [Control] and hear of it
// through [Event] values; both take effect at the border between two optimiser steps.
//
// The semantics are those of transformers' Trainer with PEFT's adapters: the schedules, the number of steps, weight decay
// on all but biases and norms, clipping by the global norm, the loss normalised over the whole optimiser step.
//
// # Files
//
// Relative paths in a run.yaml start from its own folder. A checkpoint is output_dir/checkpoint-N: the adapter as PEFT
// writes it (or the model in Hugging Face layout), and trainer_state with the optimiser's moments, the state and a manifest
// of sizes and SHA-256 sums, written last. It is made under a temporary name, synced and renamed: what has a manifest that
// holds is whole. When a run ends, its last checkpoint becomes the content of output_dir itself. A run that starts anew in
// an output_dir with checkpoints moves these to output_dir/earlier-N.
//
// # Checking
//
// The tests compare twenty steps with PyTorch's (testdata/ref), resume in a second process and compare bytes, and kill a
// saving process of each method in turn at random moments: a few times, or as often as LATHE_KILLS says
// (LATHE_KILLS=100 go test ./trainer -run Kill -v).
package trainer

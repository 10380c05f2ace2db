// Package export writes adapters and merged models for others to load: PEFT and vLLM, transformers. What it writes is read
// back from the disk and compared in logits with the live model before it is put in place; a reader that ignores an adapter
// in silence is the mistake that this finds.
package export

// Package safetensors reads and writes the safetensors format: single files, and folders of shards with a
// model.safetensors.index.json.
//
// A file is eight bytes of little-endian header length, a JSON header naming each tensor with its element type,
// shape and byte range, and the tensors' bytes without a gap. Reading maps the files into memory, so that opening
// costs the headers alone and a tensor's bytes are a slice into the page cache. Every claim of a header is checked
// before the first slice is made: a [Set] that opens holds tensors that lie inside their files.
package safetensors

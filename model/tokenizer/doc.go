// Package tokenizer is an implementation of Hugging Face's tokenizer.json for the two kinds of BPE that open-weight
// language models use: byte-level (GPT-2, Llama 3, Qwen, Falcon, GPT-NeoX) and SentencePiece-style (Llama 2,
// Mistral, Phi-3, Gemma).
//
// A text goes through the stages of the format: added tokens are cut out, the rest is normalised, split into words by
// the pre-tokenizer, merged by BPE, and the post-processor adds the tokens that open and close a sequence. A component
// that is not supported is an error at load time that names it; nothing is guessed.
//
// Split patterns of GPT-2, Llama 3 (cl100k), Qwen, gpt-oss (o200k) and Mistral NeMo are recognised by their spelling and run by hand-written
// scanners; any other runs in a regular expression engine with look-ahead.
package tokenizer

// Package parity measures lathe against transformers, PEFT, the adapters library and bitsandbytes, family by family and method by
// method, and writes what it measured into docs/PARITY.md:
//
//	go test ./internal/parity -update
//
// Without -update the same measurements are made and compared with the committed ones.
package parity

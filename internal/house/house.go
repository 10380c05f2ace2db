// Package house holds no code that runs: its tests hold the rules of the repository itself, such as which package may
// import which (docs/ARCHITECTURE.md).
package house

//go:build race

package alloctest

// Instrumented says that the race detector is built in: code is compiled otherwise, allocates more, and every page has a shadow.
const Instrumented = true

//go:build !race

package alloctest

// Instrumented says whether the race detector is built in: code is compiled otherwise, allocates more, and every page has a shadow.
const Instrumented = false

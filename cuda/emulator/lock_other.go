//go:build !linux

package emulator

func lock(string) (func(), error) { return func() {}, nil }

func hasAVX2() bool { return false }

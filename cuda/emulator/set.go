package emulator

import (
	"fmt"
	"unsafe"

	"github.com/ebitengine/purego"
)

// Set changes a setting of the emulated device while the process runs, where the environment is read only once: LATHE_EMU_MEMORY,
// LATHE_EMU_FAIL and so on; an empty value is the default. library is what Build returned.
func Set(library, name, value string) error {
	lib, err := purego.Dlopen(library, purego.RTLD_NOW|purego.RTLD_GLOBAL)
	if err != nil {
		return fmt.Errorf("set %s of the emulated device: %w", name, err)
	}
	set, err := purego.Dlsym(lib, "lathe_emu_set")
	if err != nil {
		return fmt.Errorf("set %s of the emulated device: %w", name, err)
	}
	n, v := append([]byte(name), 0), append([]byte(value), 0)
	purego.SyscallN(set, uintptr(unsafe.Pointer(&n[0])), uintptr(unsafe.Pointer(&v[0])))
	return nil
}

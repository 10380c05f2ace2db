package nvml

// #cgo LDFLAGS: -ldl
// void lathe_nvml_bind(void);
import "C"

import "sync"

// bind points go-nvml's bindings to the functions of the host's NVML.
var bind = sync.OnceFunc(func() { C.lathe_nvml_bind() })

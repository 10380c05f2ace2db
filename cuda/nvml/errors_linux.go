package nvml

import (
	"fmt"

	gonvml "github.com/NVIDIA/go-nvml/pkg/nvml"
)

// remedies say what NVML's answers mean and what to do.
var remedies = map[gonvml.Return]string{
	gonvml.ERROR_LIBRARY_NOT_FOUND: "libnvidia-ml.so.1 is not here: it comes with NVIDIA's driver; in a container, start it with --gpus all",
	gonvml.ERROR_DRIVER_NOT_LOADED: "NVIDIA's kernel module is not loaded: modprobe nvidia, or install the driver for this kernel",
	gonvml.ERROR_NO_PERMISSION:     "no permission: this user must be able to read and write /dev/nvidiactl and /dev/nvidia0 and so on",
	gonvml.ERROR_LIB_RM_VERSION_MISMATCH: "the driver's library and its kernel module have different versions: restart the machine, " +
		"the driver was updated while it ran",
	gonvml.ERROR_FUNCTION_NOT_FOUND: "the driver is too old for this call: update it",
	gonvml.ERROR_GPU_IS_LOST:        "the GPU is lost (fallen off the bus, or reset): restart the machine",
	gonvml.ERROR_RESET_REQUIRED:     "the GPU wants a reset: nvidia-smi --gpu-reset with nothing running on it",
	gonvml.ERROR_IRQ_ISSUE:          "the GPU's interrupts do not arrive: restart the machine",
	gonvml.ERROR_OPERATING_SYSTEM:   "the operating system refused: a container's device rules or a memory limit may be why",
	gonvml.ERROR_INSUFFICIENT_POWER: "the GPU's power cables are not connected",
	gonvml.ERROR_TIMEOUT:            "the driver did not answer in its time",
	gonvml.ERROR_NOT_SUPPORTED:      "this GPU does not tell",
}

// explain is an answer of NVML's in words.
func explain(ret gonvml.Return) string {
	if text, ok := remedies[ret]; ok {
		return text
	}
	return fmt.Sprintf("answer %d (%s)", int(ret), ret.Error())
}

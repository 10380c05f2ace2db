//go:build gorgonia

// forward.c: libcuda's names for the linker, each a jump to where its slot points. forward_use fills the slots from an
// opened library; until then a call answers CUDA_ERROR_NOT_INITIALIZED. So a program starts on a host without a driver.
#define _GNU_SOURCE
#include "forward.h"
#include <dlfcn.h>

static int not_open(void) { return 3; }        // CUDA_ERROR_NOT_INITIALIZED
static int not_supported(void) { return 801; } // CUDA_ERROR_NOT_SUPPORTED: the library lacks the call

// gorgonia.org/cu calls cuInit before main and ends the process when it fails; driver.Open calls the library's own.
int cuInit(unsigned int flags) { (void)flags; return 0; }

#if defined(__x86_64__)
#define JUMP(name) "jmp *slot_" #name "(%rip)\n"
#elif defined(__aarch64__)
#define JUMP(name) "adrp x16, slot_" #name "\nldr x16, [x16, :lo12:slot_" #name "]\nbr x16\n"
#else
#error "no jump for this processor: build without -tags gorgonia"
#endif

#define CALL(name) \
  __attribute__((visibility("hidden"))) void* slot_##name = (void*)not_open; \
  __asm__(".pushsection .text\n.globl " #name "\n.type " #name ", %function\n" #name ":\n" JUMP(name) ".size " #name ", .-" #name "\n.popsection\n");
#include "calls.h"
#undef CALL

static const struct { const char* name; void** slot; } calls[] = {
#define CALL(name) {#name, &slot_##name},
#include "calls.h"
#undef CALL
};

void forward_use(uintptr_t library) {
  for (unsigned i = 0; i < sizeof calls / sizeof *calls; i++) {
    void* f = dlsym((void*)library, calls[i].name);
    *calls[i].slot = f ? f : (void*)not_supported;
  }
}

// go-nvml leaves NVML's functions to the dynamic linker's lazy binding. A program that is linked with -z now (the default of some
// distributions' gcc) or runs under musl then does not even start without a driver, and one on an old driver is ended at the first
// call of a function that the driver lacks. So each function is defined here: it jumps to the driver's own, or answers
// NVML_ERROR_FUNCTION_NOT_FOUND where there is none.

#include <dlfcn.h> // dlopen, dlsym

#include "functions.h" // FUNCTIONS

enum { FUNCTION_NOT_FOUND = 13 };

static int missing(void) { return FUNCTION_NOT_FOUND; }

#if defined(__x86_64__)
#define JUMP(slot) "jmp *" slot "(%rip)\n"
#elif defined(__aarch64__)
#define JUMP(slot) "adrp x16, " slot "\nldr x16, [x16, :lo12:" slot "]\nbr x16\n"
#endif

#ifdef JUMP

#define SLOT(name) __attribute__((visibility("hidden"))) void *slot_##name = (void *)missing;
FUNCTIONS(SLOT)

#define FORWARD(name)                                                                                                      \
  __asm__(".pushsection .text\n.globl " #name "\n.hidden " #name "\n.type " #name ", @function\n" #name ":\n" JUMP("slot_" #name) \
          ".popsection\n");
FUNCTIONS(FORWARD)

#define ROW(name) {#name, &slot_##name},
static const struct {
  const char *name;
  void **slot;
} table[] = {FUNCTIONS(ROW)};

// lathe_nvml_bind finds the functions of the host's NVML. It may be called once, before any other.
void lathe_nvml_bind(void) {
  void *library = dlopen("libnvidia-ml.so.1", RTLD_LAZY | RTLD_GLOBAL);
  if (!library)
    return;
  for (unsigned i = 0; i < sizeof table / sizeof *table; i++) {
    void *function = dlsym(library, table[i].name);
    if (function)
      *table[i].slot = function;
  }
}

#else // another processor: lazy binding it is

void lathe_nvml_bind(void) { (void)missing; }

#endif

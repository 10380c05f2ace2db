#include <stdint.h>

// forward_use points every call at the library, a handle of dlopen.
void forward_use(uintptr_t library);

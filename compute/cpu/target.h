// Lets everything between LATHE_TARGET("…") and LATHE_TARGET_END use the named instruction sets, with gcc and with clang.
#ifndef LATHE_TARGET_H
#define LATHE_TARGET_H

#define LATHE_PRAGMA(x) _Pragma(#x)
#if defined(__clang__)
#define LATHE_TARGET(sets) LATHE_PRAGMA(clang attribute push(__attribute__((target(sets))), apply_to = function))
#define LATHE_TARGET_END _Pragma("clang attribute pop")
#else
#define LATHE_TARGET(sets) _Pragma("GCC push_options") LATHE_PRAGMA(GCC target(sets))
#define LATHE_TARGET_END _Pragma("GCC pop_options")
#endif

#endif

// Element types, in the order of compute.DType; NF4 is a matrix of U8 with its scales.
#ifndef LATHE_DTYPE_H
#define LATHE_DTYPE_H

enum { LATHE_F32 = 0, LATHE_BF16 = 1, LATHE_F16 = 2, LATHE_I32 = 3, LATHE_U8 = 4, LATHE_NF4 = 5 };

#endif

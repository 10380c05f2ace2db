// Element types, in the order of compute.DType; QUANT4 is a matrix of U8 with its scales and code book.
#ifndef LATHE_DTYPE_H
#define LATHE_DTYPE_H

enum { LATHE_F32 = 0, LATHE_BF16 = 1, LATHE_F16 = 2, LATHE_I32 = 3, LATHE_U8 = 4, LATHE_QUANT4 = 5 };

#endif

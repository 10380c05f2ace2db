// Many tensors in one launch: a list in device memory, whose tensors are cut into chunks, and a block for each chunk. A tensor knows the
// number of its first chunk; a block finds its own by bisection, which is a few cached loads against the chunk's thousands.
#pragma once
#include "rows.h"

// find_tensor is the last of count tensors that begins at or before a chunk: those without elements have none and are never it.
template <class T> DEV int find_tensor(const T *tensors, int count, int chunk) {
    int low = 0, high = count;
    while (high - low > 1) {
        int middle = (low + high) / 2;
        if (tensors[middle].first <= chunk)
            low = middle;
        else
            high = middle;
    }
    return low;
}

// Copies and fills. One that is not asynchronous first lets every stream finish, as the default stream of the driver does.
#include <cstring>

#include "driver.h"

using namespace emu;

// at_once runs an operation of the default stream that the host waits for.
static CUresult at_once() {
    if (CUresult r = forbid_capture())
        return r;
    return flush_all();
}

API cuMemcpyHtoD_v2(CUdeviceptr d, const void *s, size_t n) {
    BEGIN(CONTEXT);
    if (CUresult r = at_once())
        return r;
    if (!inside_device(d, n))
        return CUDA_ERROR_INVALID_VALUE;
    memcpy((void *)d, s, n);
    return CUDA_SUCCESS;
}

API cuMemcpyDtoH_v2(void *d, CUdeviceptr s, size_t n) {
    BEGIN(CONTEXT);
    if (CUresult r = at_once())
        return r;
    if (!inside_device(s, n))
        return CUDA_ERROR_INVALID_VALUE;
    memcpy(d, (void *)s, n);
    return CUDA_SUCCESS;
}

API cuMemcpyDtoD_v2(CUdeviceptr d, CUdeviceptr s, size_t n) {
    BEGIN(CONTEXT);
    if (CUresult r = at_once())
        return r;
    if (!inside_device(d, n) || !inside_device(s, n))
        return CUDA_ERROR_INVALID_VALUE;
    memmove((void *)d, (void *)s, n);
    return CUDA_SUCCESS;
}

API cuMemcpyHtoDAsync_v2(CUdeviceptr d, const void *s, size_t n, Stream *stream) {
    BEGIN(CONTEXT);
    if (!inside_device(d, n))
        return CUDA_ERROR_INVALID_VALUE;
    if (inside_pinned(s, n) || !settings().lazy)
        return submit(stream, [=] { memcpy((void *)d, s, n); return CUDA_SUCCESS; });
    std::string staged((const char *)s, n); // pageable memory may change as soon as the call returns
    return submit(stream, [=] { memcpy((void *)d, staged.data(), n); return CUDA_SUCCESS; });
}

API cuMemcpyDtoHAsync_v2(void *d, CUdeviceptr s, size_t n, Stream *stream) {
    BEGIN(CONTEXT);
    if (!inside_device(s, n))
        return CUDA_ERROR_INVALID_VALUE;
    if (settings().lazy && inside_pinned(d, n))
        memset(d, 0xff, n); // not there before a synchronisation
    return submit(stream, [=] { memcpy(d, (void *)s, n); return CUDA_SUCCESS; });
}

API cuMemcpyDtoDAsync_v2(CUdeviceptr d, CUdeviceptr s, size_t n, Stream *stream) {
    BEGIN(CONTEXT);
    if (!inside_device(d, n) || !inside_device(s, n))
        return CUDA_ERROR_INVALID_VALUE;
    return submit(stream, [=] { memmove((void *)d, (void *)s, n); return CUDA_SUCCESS; });
}

API cuMemcpyPeerAsync(CUdeviceptr d, void *, CUdeviceptr s, void *, size_t n, Stream *stream) {
    BEGIN(CONTEXT);
    return cuMemcpyDtoDAsync_v2(d, s, n, stream);
}

template <class T> static CUresult fill(CUdeviceptr d, T value, size_t n, Stream *stream) {
    if (!inside_device(d, n * sizeof(T)) || d % sizeof(T))
        return CUDA_ERROR_INVALID_VALUE;
    return submit(stream, [=] {
        for (size_t i = 0; i < n; i++)
            ((T *)d)[i] = value;
        return CUDA_SUCCESS;
    });
}

API cuMemsetD8Async(CUdeviceptr d, unsigned char v, size_t n, Stream *s) {
    BEGIN(CONTEXT);
    return fill(d, v, n, s);
}

API cuMemsetD16Async(CUdeviceptr d, unsigned short v, size_t n, Stream *s) {
    BEGIN(CONTEXT);
    return fill(d, v, n, s);
}

API cuMemsetD32Async(CUdeviceptr d, unsigned v, size_t n, Stream *s) {
    BEGIN(CONTEXT);
    return fill(d, v, n, s);
}

API cuMemsetD8_v2(CUdeviceptr d, unsigned char v, size_t n) {
    BEGIN(CONTEXT);
    if (CUresult r = at_once())
        return r;
    return fill(d, v, n, nullptr);
}

API cuMemsetD32_v2(CUdeviceptr d, unsigned v, size_t n) {
    BEGIN(CONTEXT);
    if (CUresult r = at_once())
        return r;
    return fill(d, v, n, nullptr);
}

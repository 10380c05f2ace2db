// Softmax cross entropy over rows of logits: the label's log-probability and, in place, its gradient.
#include "device.h"

// cross_entropy: a block takes row n of logits[N,V]. With s = softcap·tanh(logits/softcap) (or the logits, where softcap is 0):
// logprobs[n] = s[label] - max - ln Σ exp(s - max); where grad is set, logits become scale·(softmax(s) - onehot)·∂s/∂logits.
// Three passes over the row: 8 bytes an element for the softcap, 4 for the sum, 8 for the gradient; a row of 128k words is 512 KB and stays in L2.
// Sums of a thread are float over at most 64 elements, then double, so that 256k words cost no accuracy.
KERNEL_BOUNDS(cross_entropy, 1024, 1, float *logits, float *logprobs, const int *labels, long long v, float softcap, float scale, int grad) {
    __shared__ float most_of[WARP];
    __shared__ double sum_of[WARP];
    float *x = logits + blockIdx.x * v;
    float most = -INFINITY;
    for (long long i = threadIdx.x; i < v; i += blockDim.x) {
        float s = x[i];
        if (softcap > 0.0f)
            x[i] = s = softcap * tanhf(s / softcap);
        most = fmaxf(most, s);
    }
    most = block_max(most, most_of);
    double total = 0.0;
    for (long long i = threadIdx.x; i < v;) {
        float part = 0.0f;
        for (int j = 0; j < 64 && i < v; j++, i += blockDim.x)
            part += expf(x[i] - most);
        total += (double)part;
    }
    total = block_sum(total, sum_of);
    int label = labels[blockIdx.x];
    float at = x[label];
    __syncthreads(); // every thread has read the label's logit before its owner overwrites it
    if (threadIdx.x == 0)
        logprobs[blockIdx.x] = (float)((double)at - (double)most - log(total));
    if (!grad)
        return;
    float share = (float)((double)scale / total);
    for (long long i = threadIdx.x; i < v; i += blockDim.x) {
        float s = x[i], d = expf(s - most) * share;
        if (i == label)
            d -= scale;
        if (softcap > 0.0f)
            d *= 1.0f - (s / softcap) * (s / softcap);
        x[i] = d;
    }
}

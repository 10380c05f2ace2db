package main

import "math"

// gpu is what a data sheet says, in operations and bytes a second, and what of it was measured. Products are dense: data sheets that
// count 2:4 sparsity say twice as much.
type gpu struct {
	name   string
	sm     string  // architecture of ptxas' report
	tensor float64 // bf16 (T4: fp16) products with float32 sums
	float  float64 // float32, not on tensor cores
	memory float64 // bytes a second
	size   int64   // bytes of memory
	sms    int
	source string

	mma      float64 // share of tensor that mma.sync reaches; 1 where it is the only instruction there is
	measured gpuMeasured
	refused  string // why lathe does not run on it
}

// gpuMeasured are the best that a product and a copy were seen to reach on the card; 0 is not measured.
type gpuMeasured struct {
	tensor, memory float64
	source         string
}

const (
	tera = 1e12
	gib  = 1 << 30
	// hopperMMA is the average over mma.sync's shapes of its throughput on Hopper against the peak that wgmma comes near to.
	hopperMMA       = .629
	hopperMMASource = "Luo et al. 2025, Dissecting the NVIDIA Hopper Architecture through Microbenchmarking, arXiv:2501.12084, section 6.2"
)

var gpus = []gpu{
	{
		name: "H200 SXM", sm: "sm_90", tensor: 989 * tera, float: 67 * tera, memory: 4.8 * tera, size: 141e9, sms: 132, mma: hopperMMA,
		source:   "NVIDIA H200 data sheet (1,979 TFLOPS with sparsity)",
		measured: gpuMeasured{tensor: 790 * tera, memory: 4.3 * tera, source: "measured for this project before its kernels: cuBLAS products and copies on one H200"},
	},
	{
		name: "H100 SXM", sm: "sm_90", tensor: 989 * tera, float: 67 * tera, memory: 3.35 * tera, size: 80e9, sms: 132, mma: hopperMMA,
		source: "NVIDIA H100 data sheet (1,979 TFLOPS with sparsity)",
	},
	{
		name: "A100 80 GB SXM", sm: "sm_80", tensor: 312 * tera, float: 19.5 * tera, memory: 2.039 * tera, size: 80e9, sms: 108, mma: 1,
		source: "NVIDIA A100 data sheet",
	},
	{
		name: "RTX 4090", sm: "sm_89", tensor: 165.2 * tera, float: 82.6 * tera, memory: 1.008 * tera, size: 24 * gib, sms: 128, mma: 1,
		source: "NVIDIA Ada GPU architecture white paper, appendix A (with float32 sums)",
	},
	{
		name: "T4", tensor: 65 * tera, float: 8.1 * tera, memory: .32 * tera, size: 16 * gib, sms: 40, mma: 1,
		source:  "NVIDIA T4 data sheet (fp16; it has no bf16)",
		refused: "compute capability 7.5, the kernels need 8.0",
	},
}

// reserve is what a GPU's memory holds beside lathe's plan: the context, its modules, and on a card with a screen that.
const reserve = 1 * gib

// limits are how fast a device goes at best: products and attention's products may go faster than by mma.sync.
type limits struct{ tensor, products, heads, float, memory, shared float64 }

// sheet are the data sheet's.
func (g gpu) sheet() limits {
	return limits{g.tensor, g.tensor, g.tensor, g.float, g.memory, math.Inf(1)}
}

// own are those of lathe's kernels: products by mma.sync, and no more than was ever measured.
func (g gpu) own() limits {
	tensor, memory := g.tensor*g.mma, g.memory
	if m := g.measured; m.tensor > 0 {
		tensor, memory = min(tensor, m.tensor), min(memory, m.memory)
	}
	return limits{tensor, tensor, tensor, g.float, memory, sharedBytes * float64(g.sms) * g.clock()}
}

// library is how fast products go by a library (cuBLASLt) or by wgmma: as fast as was measured, else as the data sheet says. Neither reads
// shared memory through registers.
func (g gpu) library() float64 {
	if g.mma == 1 {
		return g.own().tensor
	}
	if g.measured.tensor > 0 {
		return g.measured.tensor
	}
	return g.tensor
}

// sharedBytes of shared memory a multiprocessor moves in a clock.
const sharedBytes = 128

// clock is the one that the data sheet counts with: multiply-adds of a multiprocessor and clock are the architecture's.
func (g gpu) clock() float64 {
	macs := map[string]float64{"": 512, "sm_80": 1024, "sm_89": 256, "sm_90": 2048}
	return g.tensor / 2 / float64(g.sms) / macs[g.sm]
}

// A libnvidia-ml.so.1 for hosts without a GPU: one made-up GPU on which this process holds 907 MiB and process 1 holds 3 GiB.
// Beside an emulated libcuda.so.1, in a folder that LD_LIBRARY_PATH names, it feeds the gauges of an emulated run through the same
// dlopen as a driver's library would.
//
//	gcc -shared -fPIC -o FOLDER/libnvidia-ml.so.1 cuda/nvml/testdata/fakenvml/fakenvml.c
//
// FAKE_NVML=denied answers as a driver that may not be talked to, FAKE_NVML=hang never answers a question about memory, and
// compiled with -DOLD it lacks what came after driver 450. Signatures and layouts are those of NVIDIA's NVML API reference.

#include <stdio.h>  // snprintf
#include <stdlib.h> // getenv
#include <string.h> // memset, strcmp
#include <unistd.h> // getpid, pause

#define MIB (1ull << 20)

enum { SUCCESS = 0, NOT_SUPPORTED = 3, NO_PERMISSION = 4, INSUFFICIENT_SIZE = 7 };
enum { CLOCK_SM = 1, CLOCK_MEMORY = 2 };

typedef struct {
  char bus_id_legacy[16];
  unsigned domain, bus, device, device_id, subsystem_id;
  char bus_id[32];
} pci_info;

typedef struct {
  unsigned long long total, free, used;
} memory;

typedef struct {
  unsigned version;
  unsigned long long total, reserved, free, used;
} memory_v2;

typedef struct {
  unsigned gpu, memory;
} utilization;

typedef struct {
  unsigned pid;
  unsigned long long used;
#ifndef OLD
  unsigned gpu_instance, compute_instance;
#endif
} process;

static const unsigned long long total = 8192 * MIB, used = 4091 * MIB, reserved = 256 * MIB, own = 907 * MIB;

static int asked(const char *what) {
  const char *mode = getenv("FAKE_NVML");
  return mode && !strcmp(mode, what);
}

static int text(char *to, unsigned length, const char *from) {
  return snprintf(to, length, "%s", from) < (int)length ? SUCCESS : INSUFFICIENT_SIZE;
}

int nvmlInit_v2(void) { return asked("denied") ? NO_PERMISSION : SUCCESS; }
int nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(int answer) { return answer ? "an error" : "success"; }
int nvmlSystemGetDriverVersion(char *version, unsigned length) { return text(version, length, "550.54.15"); }
int nvmlDeviceGetCount_v2(unsigned *count) { return *count = 1, SUCCESS; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) { return *device = (void *)(size_t)(index + 1), SUCCESS; }
int nvmlDeviceGetName(void *device, char *name, unsigned length) { return text(name, length, "Emulated GPU"); }

int nvmlDeviceGetUUID(void *device, char *uuid, unsigned length) {
  return text(uuid, length, "GPU-00000000-0000-0000-0000-000000000001");
}

int nvmlDeviceGetPciInfo_v3(void *device, pci_info *pci) {
  memset(pci, 0, sizeof *pci);
  return text(pci->bus_id, sizeof pci->bus_id, "00000000:01:00.0");
}

int nvmlDeviceGetMemoryInfo(void *device, memory *m) {
  while (asked("hang"))
    pause();
  *m = (memory){total, total - used - reserved, used + reserved};
  return SUCCESS;
}

int nvmlDeviceGetUtilizationRates(void *device, utilization *u) { return *u = (utilization){93, 41}, SUCCESS; }
int nvmlDeviceGetPowerUsage(void *device, unsigned *milliwatts) { return *milliwatts = 188400, SUCCESS; }
int nvmlDeviceGetEnforcedPowerLimit(void *device, unsigned *milliwatts) { return *milliwatts = 220000, SUCCESS; }
int nvmlDeviceGetTemperature(void *device, int sensor, unsigned *celsius) { return *celsius = 61, SUCCESS; }
int nvmlDeviceGetTemperatureThreshold(void *device, int kind, unsigned *celsius) { return *celsius = 96, SUCCESS; }

int nvmlDeviceGetClockInfo(void *device, int kind, unsigned *mhz) {
  *mhz = kind == CLOCK_SM ? 1905 : 9001;
  return kind == CLOCK_SM || kind == CLOCK_MEMORY ? SUCCESS : NOT_SUPPORTED;
}

int nvmlDeviceGetMaxClockInfo(void *device, int kind, unsigned *mhz) {
  *mhz = kind == CLOCK_SM ? 2100 : 9001;
  return SUCCESS;
}

static int processes(unsigned *count, process *list, unsigned n) {
  unsigned room = *count;
  *count = n;
  if (room < n)
    return INSUFFICIENT_SIZE;
  memset(list, 0, n * sizeof *list);
  if (n > 0)
    list[0].pid = getpid(), list[0].used = own;
  if (n > 1)
    list[1].pid = 1, list[1].used = 3072 * MIB;
  return SUCCESS;
}

#ifdef OLD

int nvmlDeviceGetComputeRunningProcesses(void *device, unsigned *count, process *list) { return processes(count, list, 2); }
int nvmlDeviceGetGraphicsRunningProcesses(void *device, unsigned *count, process *list) { return processes(count, list, 0); }
int nvmlDeviceGetCurrentClocksThrottleReasons(void *device, unsigned long long *bits) { return *bits = 4, SUCCESS; }

#else

int nvmlDeviceGetMemoryInfo_v2(void *device, memory_v2 *m) {
  while (asked("hang"))
    pause();
  m->total = total, m->reserved = reserved, m->used = used, m->free = total - used - reserved;
  return SUCCESS;
}

int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *count, process *list) { return processes(count, list, 2); }
int nvmlDeviceGetGraphicsRunningProcesses_v3(void *device, unsigned *count, process *list) { return processes(count, list, 0); }
int nvmlDeviceGetCurrentClocksEventReasons(void *device, unsigned long long *bits) { return *bits = 4, SUCCESS; }

int nvmlDeviceGetMigMode(void *device, unsigned *current, unsigned *pending) {
  *current = *pending = 0;
  return NOT_SUPPORTED;
}

#endif

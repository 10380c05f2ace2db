package driver

import (
	"fmt"
	"strings"
)

// Info describes a device: a GPU, or a MIG instance of one, which libcuda shows as a device of its own.
type Info struct {
	Ordinal            int    // as CUDA counts, after CUDA_VISIBLE_DEVICES
	Name               string // "NVIDIA H200"
	UUID               string // "GPU-…" or "MIG-…", as nvidia-smi -L prints it; "" where the driver does not tell
	PCI                string // "0000:3B:00.0"
	Major, Minor       int    // compute capability
	Memory             int64  // bytes
	SMs                int
	SharedPerBlock     int   // bytes of shared memory a block may opt in to
	SharedPerSM        int   // bytes
	L2                 int64 // bytes
	ClockMHz           int
	MemoryClockMHz     int
	BusWidth           int // bits
	MaxThreadsPerBlock int
	MaxThreadsPerSM    int
	RegistersPerSM     int  // 32-bit registers
	Integrated         bool // shares its memory with the host
	MIG                bool
	ECC                bool
	Exclusive          bool // one process at a time (nvidia-smi -c EXCLUSIVE_PROCESS)
	Prohibited         bool // no process may use it (nvidia-smi -c PROHIBITED)
}

// Capability is the compute capability as PTX writes it: 90 for 9.0.
func (i Info) Capability() int { return 10*i.Major + i.Minor }

// Devices lists the devices that this process may use. None at all is an error, [ErrNoDevice].
func (d *Driver) Devices() ([]Info, error) {
	n, r := d.api.deviceCount()
	if r != Success {
		return nil, d.host.explain(d.fail("cuDeviceGetCount", r))
	}
	if n == 0 {
		return nil, d.host.explain(d.fail("cuDeviceGetCount", NoDevice))
	}
	all := make([]Info, n)
	for i := range all {
		var err error
		if all[i], _, err = d.device(i); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// device is the description and libcuda's handle of one device.
func (d *Driver) device(ordinal int) (Info, int32, error) {
	i := Info{Ordinal: ordinal}
	dev, r := d.api.deviceGet(ordinal)
	if r != Success {
		e := d.fail("cuDeviceGet", r)
		e.Detail = fmt.Sprintf("device %d", ordinal)
		return i, 0, e
	}
	if i.Name, r = d.api.deviceName(dev); r != Success {
		return i, 0, d.fail("cuDeviceGetName", r)
	}
	if i.Memory, r = d.api.deviceMemory(dev); r != Success {
		return i, 0, d.fail("cuDeviceTotalMem", r)
	}
	i.MIG = strings.Contains(i.Name, " MIG ")
	if u, r := d.api.deviceUUID(dev); r == Success {
		i.UUID = uuidString(u, i.MIG)
	}
	return i, dev, d.attributes(dev, &i)
}

// attributes fills in what cuDeviceGetAttribute tells.
func (d *Driver) attributes(dev int32, i *Info) error {
	var l2, clock, memoryClock, integrated, mode, ecc, domain, bus, slot int
	for _, a := range []struct {
		attr int
		to   *int
	}{
		{attrMajor, &i.Major},
		{attrMinor, &i.Minor},
		{attrSMs, &i.SMs},
		{attrSharedOptin, &i.SharedPerBlock},
		{attrSharedPerSM, &i.SharedPerSM},
		{attrL2, &l2},
		{attrClockRate, &clock},
		{attrMemoryClockRate, &memoryClock},
		{attrBusWidth, &i.BusWidth},
		{attrMaxThreadsPerBlock, &i.MaxThreadsPerBlock},
		{attrMaxThreadsPerSM, &i.MaxThreadsPerSM},
		{attrRegistersPerSM, &i.RegistersPerSM},
		{attrIntegrated, &integrated},
		{attrComputeMode, &mode},
		{attrECC, &ecc},
		{attrPCIDomain, &domain},
		{attrPCIBus, &bus},
		{attrPCIDevice, &slot},
	} {
		v, r := d.api.deviceAttribute(a.attr, dev)
		if r != Success {
			e := d.fail("cuDeviceGetAttribute", r)
			e.Detail = fmt.Sprintf("%d of device %d", a.attr, i.Ordinal)
			return e
		}
		*a.to = v
	}
	i.L2, i.ClockMHz, i.MemoryClockMHz = int64(l2), clock/1000, memoryClock/1000
	i.Integrated, i.ECC = integrated != 0, ecc != 0
	i.Exclusive, i.Prohibited = mode == computeExclusive, mode == computeProhibited
	i.PCI = fmt.Sprintf("%04X:%02X:%02X.0", domain, bus, slot)
	return nil
}

func uuidString(u [16]byte, mig bool) string {
	kind := "GPU"
	if mig {
		kind = "MIG"
	}
	return fmt.Sprintf("%s-%x-%x-%x-%x-%x", kind, u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}

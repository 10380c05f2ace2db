package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/spf13/cobra"

	"lathe/compute"
	"lathe/compute/distributed"
	"lathe/cuda"
	"lathe/cuda/nccl"
	"lathe/session"
	"lathe/trainer"
)

// A run on several devices is one process a device. Either a launcher has started them all, each with torchrun's environment
// (torchrun itself, srun, PyTorchJob), or this process starts the others, one for each further GPU of --device cuda:0,1. Rank 0
// is the session that people see; the others work for it and say nothing but why they fail.

// placement is where a run trains, as this process sees it.
type placement struct {
	devices  []string // of this process, and of the ranks that it starts
	launched bool     // by a launcher, as launch says
	launch   distributed.Launch
}

// place finds out which devices a run trains on.
func (e *env) place(gpus int) (placement, error) {
	devices, err := e.deviceList(gpus)
	if err != nil {
		return placement{}, err
	}
	launch, launched, err := distributed.FromEnvironment(os.Getenv)
	if err != nil {
		return placement{}, usageError{err}
	}
	if !launched {
		return placement{devices: devices}, nil
	}
	if len(devices) > 1 {
		return placement{}, usage("--device %s: %s says that a launcher starts one process for each GPU; leave --device and --gpus out, or unset %s",
			e.device, distributed.EnvSize, distributed.EnvSize)
	}
	return placement{devices: []string{localDevice(devices[0], launch.Local)}, launched: true, launch: launch}, nil
}

// localDevice is the GPU of a rank: that of its number among the ranks of its host, where no other is named. A launcher that
// shows each rank its own GPU alone (CUDA_VISIBLE_DEVICES) is understood too.
func localDevice(spec string, local int) string {
	if spec != "auto" && spec != "cuda" {
		return spec
	}
	visible := cuda.Count()
	switch {
	case visible == 0:
		return spec // the CPU, or the reason why there is no GPU
	case visible == 1 && os.Getenv("CUDA_VISIBLE_DEVICES") != "":
		return "cuda:0"
	}
	return "cuda:" + strconv.Itoa(local)
}

// options complete a session's: its device, and how its runs find their other ranks.
func (p placement) options(e *env, quiet bool, o session.Options) session.Options {
	o.Device, o.OpenDevice, o.QuantCache = p.devices[0], openDevice, quantCache()
	switch {
	case p.launched:
		o.Group = func(ctx context.Context, dev compute.Device, _ session.Start) (compute.Group, error) {
			return joinLaunched(ctx, p.launch, dev)
		}
	case len(p.devices) > 1:
		o.Group = func(ctx context.Context, dev compute.Device, start session.Start) (compute.Group, error) {
			return e.startRanks(ctx, p.devices, dev, start, quiet)
		}
	}
	return o
}

// joinLaunched meets the ranks that a launcher has started.
func joinLaunched(ctx context.Context, l distributed.Launch, dev compute.Device) (compute.Group, error) {
	l.Kind = dev.Info().Kind
	control, err := distributed.Join(ctx, l)
	if err != nil {
		return nil, fmt.Errorf("meet the other ranks: %w", err)
	}
	return newGroup(control, dev)
}

// newGroup sums as the device does: GPUs by NCCL, CPUs over the connections of the ranks.
func newGroup(c *distributed.Control, dev compute.Device) (compute.Group, error) {
	gpu, ok := dev.(*cuda.Device)
	if !ok {
		return distributed.NewHost(c, dev), nil
	}
	g, err := nccl.Join(c, gpu)
	if err != nil {
		return nil, err
	}
	return g, nil
}

// work is the whole life of a rank other than 0.
func (e *env) work(ctx context.Context, l distributed.Launch, device string, start session.Start) (err error) {
	signal.Ignore(syscall.SIGHUP, syscall.SIGPIPE)
	e.trains = true
	dev, err := openDevice(device)
	if err != nil {
		return err
	}
	defer dev.Close()
	group, err := joinLaunched(ctx, l, dev)
	if err != nil {
		return err
	}
	control := trainer.NewControl()
	defer context.AfterFunc(ctx, func() { control.Stop(true) })() // rank 0 saves, and all stop
	run, err := trainer.Prepare(context.WithoutCancel(ctx), dev, start.Config, trainer.Options{
		Resume: start.Resume, MaxSteps: start.MaxSteps, StopAfter: start.StopAfter, SkipRows: start.SkipRows, RateScale: start.RateScale,
		Group: group, QuantCache: quantCache(),
	})
	if err != nil {
		return configError(err)
	}
	defer run.Close()
	return run.Train(context.WithoutCancel(ctx), control, func(trainer.Event) {})
}

// rankWork is what a rank is told that this program has started itself.
type rankWork struct {
	Device string        `json:"device"`
	Start  session.Start `json:"start"`
}

// rankCommand is the process of such a rank. It reads its work from stdin.
func rankCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use: "rank", Short: "One of the processes of `train --device cuda:0,1`", Hidden: true, Args: maxArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			launch, found, err := distributed.FromEnvironment(os.Getenv)
			if err != nil || !found || launch.Rank == 0 {
				return usage("rank is started by `lathe train --device cuda:0,1`, not by hand")
			}
			var w rankWork
			if err := json.NewDecoder(e.stdin).Decode(&w); err != nil {
				return usage("rank is started by `lathe train --device cuda:0,1`, not by hand: %v", err)
			}
			err = e.work(cmd.Context(), launch, w.Device, w.Start)
			if errors.Is(err, compute.ErrGroup) { // rank 0 says it
				return errQuiet
			}
			return err
		},
	}
}

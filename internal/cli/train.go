package cli

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"lathe/session"
	"lathe/trainer"
)

func trainCommand(e *env) *cobra.Command {
	var path, workspace, skip string
	var start session.Start
	var gpus int
	cmd := &cobra.Command{
		Use:   "train -c run.yaml",
		Short: "Train headless; JSON lines with --json",
		Long: "train runs a run.yaml without a screen. An interrupt saves a checkpoint and stops; a terminal that hangs up does not.\n" +
			"The run is in the workspace's history: `lathe` in the same folder shows it.\n" +
			"--device cuda:0,1 (or --gpus 2) trains on several GPUs of this host; under torchrun, srun or PyTorchJob each process takes its own.",
		Args: maxArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if start.MaxSteps < 0 || start.StopAfter < 0 {
				return usage("--max-steps and --stop-after count steps: they cannot be negative")
			}
			cfg, err := loadConfig(path)
			if err != nil {
				return err
			}
			if start.SkipRows, err = trainer.ParseRows(skip); err != nil {
				return usageError{err}
			}
			if given := cmd.Flags().Changed("learning-rate-scale"); given && !(start.RateScale > 0 && start.RateScale <= math.MaxFloat32) {
				return usage("--learning-rate-scale multiplies the rate: give a number above 0, such as 0.5")
			}
			start.Config = cfg
			place, err := e.place(gpus)
			if err != nil {
				return err
			}
			if place.launched && place.launch.Rank > 0 {
				return e.work(cmd.Context(), place.launch, place.devices[0], start)
			}
			return e.train(cmd.Context(), path, workspace, place, start)
		},
	}
	cmd.Flags().StringVarP(&path, "config", "c", "", "run.yaml")
	cmd.Flags().StringVar(&start.Resume, "resume", "", "go on from a checkpoint folder, or from an output_dir's newest whole checkpoint")
	cmd.Flags().IntVar(&start.MaxSteps, "max-steps", 0, "number of optimiser steps, and the schedule's length")
	cmd.Flags().IntVar(&start.StopAfter, "stop-after", 0, "save and stop at this step of the same schedule")
	cmd.Flags().StringVar(&skip, "skip-rows", "", "leave these training rows out from here on: FILE:LINE,LINE,FILE:LINE…; a checkpoint remembers them")
	cmd.Flags().Float64Var(&start.RateScale, "learning-rate-scale", 0, "factor on run.yaml's learning_rate from here on; a checkpoint remembers it, 1 takes it back")
	cmd.Flags().IntVar(&gpus, "gpus", 0, "train on this many GPUs of this host, the first ones; --device cuda:0,2 names them")
	cmd.Flags().StringVar(&workspace, "workspace", ".", "folder whose .lathe keeps the run's history")
	return cmd
}

func planCommand(e *env) *cobra.Command {
	var path string
	var maxSteps, gpus int
	cmd := &cobra.Command{
		Use:   "plan -c run.yaml",
		Short: "Memory, steps, tokens and time of a run; exit 1 where it will not fit",
		Args:  maxArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if maxSteps < 0 {
				return usage("--max-steps counts steps: it cannot be negative")
			}
			cfg, err := loadConfig(path)
			if err != nil {
				return err
			}
			devices, err := e.deviceList(gpus)
			if err != nil {
				return err
			}
			machine, err := measure(devices)
			if err != nil {
				return err
			}
			plan, err := trainer.MakePlan(cmd.Context(), cfg, machine, trainer.Options{MaxSteps: maxSteps, Ranks: len(devices)})
			if err != nil {
				return configError(err)
			}
			return e.printPlan(plan)
		},
	}
	cmd.Flags().StringVarP(&path, "config", "c", "", "run.yaml")
	cmd.Flags().IntVar(&maxSteps, "max-steps", 0, "number of optimiser steps, as train --max-steps")
	cmd.Flags().IntVar(&gpus, "gpus", 0, "plan for this many GPUs of this host, as train --gpus")
	return cmd
}

// measure is the machine of a plan: the first device's speed, and what memory each of them has.
func measure(devices []string) (trainer.Environment, error) {
	var machine trainer.Environment
	for i, spec := range devices {
		dev, err := openDevice(spec)
		if err != nil {
			return machine, err
		}
		if i == 0 {
			machine, err = trainer.Measure(dev)
		} else {
			machine.Others = append(machine.Others, dev.Info())
		}
		if err := errors.Join(err, dev.Close()); err != nil {
			return machine, err
		}
	}
	return machine, nil
}

func loadConfig(path string) (trainer.Config, error) {
	if path == "" {
		return trainer.Config{}, usage("which run? name its run.yaml with -c FILE")
	}
	cfg, err := trainer.LoadConfig(path)
	if err != nil {
		return cfg, usageError{err}
	}
	return cfg, nil
}

// train runs a session without a screen.
func (e *env) train(ctx context.Context, config, workspace string, place placement, start session.Start) error {
	// A dropped line must not take the run with it: writes to a terminal that is gone fail and are ignored.
	signal.Ignore(syscall.SIGHUP, syscall.SIGPIPE)
	e.trains = true
	printer := newTrainPrinter(e)
	printer.config = config
	s, err := openSession(e, place.options(e, false, session.Options{Dir: workspace, OnEvent: printer.event}))
	if err != nil {
		return err
	}
	err = e.follow(ctx, s, printer, start)
	if lost := s.Close(); lost != nil {
		printer.warn("this run's history is not whole: %v", lost)
	}
	printer.close()
	return err
}

// follow starts a run and waits for its end.
func (e *env) follow(ctx context.Context, s *session.Session, p *trainPrinter, start session.Start) error {
	if err := s.Do(start); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() {
		if s.Do(session.Stop{}) == nil { // a run that has just ended refuses, which is as good
			p.warn("saving a checkpoint and stopping; interrupt again to end at once")
		}
	})
	defer stop()
	v, err := s.Wait(context.WithoutCancel(ctx), func(v session.View) bool { return !v.Run.State.Active() })
	if err != nil {
		return err
	}
	if v.Run.State == session.Failed {
		err := s.RunError()
		if err == nil {
			return errors.New(v.Run.Reason)
		}
		if bad := (*trainer.NonFiniteError)(nil); errors.As(err, &bad) {
			p.offer(bad)
			return err
		}
		if last := p.lastCheckpoint(); last != "" && !strings.Contains(err.Error(), "--resume") {
			err = fmt.Errorf("%w; --resume %s goes on from the last whole checkpoint", err, last)
		}
		return configError(err)
	}
	return nil
}

// openSession opens a workspace, or one in a temporary folder where this one cannot be written: a run whose output_dir can
// be written must not fail for its history.
func openSession(e *env, o session.Options) (*session.Session, error) {
	if o.OpenDevice == nil { // of the workbench: several GPUs as well
		devices, err := splitDevices(e.device)
		if err != nil {
			return nil, err
		}
		o = placement{devices: devices}.options(e, true, o)
	}
	s, err := session.Open(o)
	if err == nil {
		return s, nil
	}
	fallback, mkErr := os.MkdirTemp("", "lathe-workspace-")
	if mkErr != nil {
		return nil, err
	}
	fmt.Fprintf(e.stderr, "lathe: %v; this run's history goes to %s\n", err, filepath.Join(fallback, ".lathe"))
	o.Dir = fallback
	return session.Open(o)
}

//go:build linux

package nccl

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"lathe/compute"
	"lathe/compute/distributed"
	"lathe/cuda"
	"lathe/cuda/driver"
	"lathe/cuda/emulator"
)

// rankVariable makes the test binary one rank, which does what the variable says.
const rankVariable = "LATHE_NCCL_TEST_RANK"

func TestMain(m *testing.M) {
	task := os.Getenv(rankVariable)
	if task == "" {
		os.Exit(m.Run())
	}
	if err := rankMain(task); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func rankMain(task string) error {
	launch, _, err := distributed.FromEnvironment(os.Getenv)
	if err != nil {
		return err
	}
	launch.Kind = "cuda"
	dev, err := cuda.Open(cuda.Options{Ordinal: launch.Local})
	if err != nil {
		return err
	}
	defer dev.Close()
	control, err := distributed.Join(contextBackground, launch)
	if err != nil {
		return err
	}
	g, err := Join(control, dev)
	if err != nil {
		return err
	}
	if err := sums(g, dev); err != nil {
		return err
	}
	switch {
	case task == "die" && g.Rank() == 1:
		os.Exit(9) // as a kill: nobody is told
	case task == "die":
		b, _ := dev.Alloc(compute.F32, 8)
		err := g.SumAll([]compute.Buffer{b})
		return errors.Join(err, dev.Sync(), g.Err())
	}
	if err := g.Release(); err != nil {
		return err
	}
	if err := sums(g, dev); err != nil {
		return fmt.Errorf("after a release: %w", err)
	}
	_, err = g.Gather(nil)
	return errors.Join(err, g.Close())
}

// sums sums neighbours and single buffers, and takes rank 0's bytes.
func sums(g *Group, dev *cuda.Device) error {
	whole, err := dev.Alloc(compute.F32, 1024)
	if err != nil {
		return err
	}
	x := make([]float32, 1024)
	for i := range x {
		x[i] = float32(i + 10000*g.Rank())
	}
	compute.Upload(dev, whole, x)
	a, b, c := whole.Slice(0, 100), whole.Slice(112, 100), whole.Slice(1000, 24)
	if err := g.SumAll([]compute.Buffer{a, b, c}); err != nil {
		return err
	}
	if err := g.Broadcast([]compute.Buffer{whole.Slice(500, 10).As(compute.U8)}); err != nil {
		return err
	}
	got := compute.Download[float32](dev, whole)
	if err := dev.Sync(); err != nil {
		return err
	}
	for _, i := range []int{0, 99, 112, 211, 1000, 1023} {
		if want := float32(2*i + 10000); got[i] != want {
			return fmt.Errorf("rank %d: element %d of the sum is %v, want %v", g.Rank(), i, got[i], want)
		}
	}
	if got[300] != x[300] || got[505] != 505 {
		return fmt.Errorf("rank %d: element 300 is %v, element 505 is %v", g.Rank(), got[300], got[505])
	}
	return nil
}

// twoRanks runs two ranks on two emulated GPUs.
func twoRanks(t *testing.T, task string, environment ...string) (output [2]string, failed [2]error) {
	t.Helper()
	gpu := emulator.Need(t)
	library, err := emulator.BuildNCCL()
	if err != nil {
		t.Fatal(err)
	}
	var commands [2]*exec.Cmd
	var outputs [2]bytes.Buffer
	port := freePort(t)
	for rank := range commands {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), rankVariable+"="+task, "LATHE_EMU_DEVICES=2", driver.EnvPath+"="+gpu, EnvPath+"="+library,
			"RANK="+strconv.Itoa(rank), "LOCAL_RANK="+strconv.Itoa(rank), "WORLD_SIZE=2", "MASTER_ADDR=127.0.0.1", "MASTER_PORT="+port)
		cmd.Env = append(cmd.Env, environment...)
		cmd.Stdout, cmd.Stderr = &outputs[rank], &outputs[rank]
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill() })
		commands[rank] = cmd
	}
	for rank, cmd := range commands {
		timer := time.AfterFunc(2*time.Minute, func() { _ = cmd.Process.Kill() })
		failed[rank] = cmd.Wait()
		timer.Stop()
		output[rank] = outputs[rank].String()
	}
	return output, failed
}

func TestTwoRanks(t *testing.T) {
	output, failed := twoRanks(t, "sum")
	for rank, err := range failed {
		if err != nil {
			t.Errorf("rank %d: %v: %s", rank, err, output[rank])
		}
	}
}

// A rank that dies while the other waits in NCCL, as a kernel that cannot end, ends that one within seconds.
func TestDeadRankIsAborted(t *testing.T) {
	start := time.Now()
	output, failed := twoRanks(t, "die")
	if failed[0] == nil || !strings.Contains(output[0], "rank 1 (host ") || !strings.Contains(output[0], "ended without a word") {
		t.Errorf("rank 0: %v: %s", failed[0], output[0])
	}
	if took := time.Since(start); took > time.Minute {
		t.Errorf("it took %v", took)
	}
}

func TestMissingLibrary(t *testing.T) {
	output, failed := twoRanks(t, "sum", EnvPath+"=/nowhere/libnccl.so.2")
	for rank, err := range failed {
		if err == nil || !strings.Contains(output[rank], "no such library: correct or unset it") {
			t.Errorf("rank %d: %v: %s", rank, err, output[rank])
		}
	}
}

var contextBackground = context.Background()

// freePort is a port that was free a moment ago.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

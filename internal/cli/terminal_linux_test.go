package cli

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// terminal is a pseudo-terminal with a process on it; the process is its session's leader, so that it hears of a hang-up.
type terminal struct {
	t      *testing.T
	master *os.File
	cmd    *exec.Cmd
	silent chan struct{} // closed when nobody has the other end open

	mu   sync.Mutex
	text []byte
}

// ioctl leaves the file in its non-blocking mode, which Fd would end: a reader must not hold up the master's close.
func ioctl(f *os.File, request uintptr, argument unsafe.Pointer) (err error) {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	failed := conn.Control(func(fd uintptr) {
		if _, _, e := syscall.Syscall(syscall.SYS_IOCTL, fd, request, uintptr(argument)); e != 0 {
			err = e
		}
	})
	return errors.Join(failed, err)
}

func startTerminal(t *testing.T, columns, rows int, args ...string) *terminal {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("skipped: no pseudo-terminals here: %v", err)
	}
	var number, unlock int32
	if err := ioctl(master, syscall.TIOCGPTN, unsafe.Pointer(&number)); err != nil {
		t.Fatal(err)
	}
	if err := ioctl(master, syscall.TIOCSPTLCK, unsafe.Pointer(&unlock)); err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("skipped: no pseudo-terminals here: %v", err)
	}
	defer slave.Close()
	size := [4]uint16{uint16(rows), uint16(columns)}
	if err := ioctl(master, syscall.TIOCSWINSZ, unsafe.Pointer(&size)); err != nil {
		t.Fatal(err)
	}
	x := &terminal{t: t, master: master, cmd: process(args...), silent: make(chan struct{})}
	x.cmd.Env = append(x.cmd.Env, "TERM=xterm-256color", "NO_COLOR=1")
	x.cmd.Stdin, x.cmd.Stdout, x.cmd.Stderr = slave, slave, slave
	x.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := x.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = x.cmd.Process.Kill() // of a test that failed half-way
		master.Close()
	})
	go x.read()
	return x
}

// read takes what the process writes until nobody has the terminal open.
func (x *terminal) read() {
	defer close(x.silent)
	buffer := make([]byte, 4096)
	for {
		n, err := x.master.Read(buffer)
		x.mu.Lock()
		x.text = append(x.text, buffer[:n]...)
		x.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (x *terminal) says(word string) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return strings.Contains(string(x.text), word)
}

func (x *terminal) resize(columns, rows int) {
	x.t.Helper()
	size := [4]uint16{uint16(rows), uint16(columns)}
	if err := ioctl(x.master, syscall.TIOCSWINSZ, unsafe.Pointer(&size)); err != nil {
		x.t.Fatal(err)
	}
}

func (x *terminal) press(keys string) {
	x.t.Helper()
	if _, err := x.master.WriteString(keys); err != nil {
		x.t.Fatal(err)
	}
}

// exits waits for the process's own end and its last words.
func (x *terminal) exits() int {
	x.t.Helper()
	ended := make(chan struct{})
	go func() {
		_ = x.cmd.Wait() // the code says the same
		<-x.silent
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		x.t.Fatalf("the process does not end; its screen: %q", x.text)
	}
	return x.cmd.ProcessState.ExitCode()
}

// A terminal that goes away in the middle of a run (a dropped line, a closed window) does not take the run with it.
func TestTerminalHangsUp(t *testing.T) {
	dir := t.TempDir()
	yaml := tiny(t, dir, config{"max_steps": 300, "save_strategy": "steps", "save_steps": 100}).save(t, dir, "run.yaml")
	x := startTerminal(t, 80, 24, "train", "-c", yaml, "--workspace", dir)
	eventually(t, "the first steps", func() bool { return x.says("/300") })
	x.master.Close() // the kernel sends SIGHUP, and every write fails from here on
	if code := x.exits(); code != exitDone {
		t.Errorf("exit %d", code)
	}
	if got := checkpoints(t, filepath.Join(dir, "out")); !slices.Equal(got, []int{100, 200, 300}) {
		t.Errorf("checkpoints %v", got)
	}
}

// On a terminal a run is told in a line that is redrawn and never wider than the screen; ^C saves and stops.
func TestProgressOnATerminal(t *testing.T) {
	dir := t.TempDir()
	x := startTerminal(t, 40, 10, "train", "-c", longRun(t, dir, nil), "--workspace", dir)
	eventually(t, "a step", func() bool { return x.says("\r\x1b[2Kstep ") })
	x.press("\x03")
	if code := x.exits(); code != exitDone || !x.says("saving a checkpoint and stopping") || !x.says("--resume") {
		t.Errorf("exit %d: %q", code, x.text)
	}
	for _, part := range strings.Split(string(x.text), "\r\x1b[2K") {
		part, _, _ = strings.Cut(part, "^C") // the terminal's own echo
		if line, _, ended := strings.Cut(part, "\r\n"); !ended && len([]rune(line)) >= 40 {
			t.Errorf("a live line of %d columns: %q", len([]rune(line)), line)
		}
	}
}

// The workbench in a terminal that is too small says so, comes up when there is room, and goes when it is asked to.
func TestTerminalTooSmall(t *testing.T) {
	x := startTerminal(t, 20, 5, t.TempDir())
	eventually(t, "a word about the size", func() bool { return x.says("20×5") || x.says("20x5") })
	x.resize(80, 24)
	eventually(t, "the workbench", func() bool { return x.says("Train") })
	x.press("q")
	if code := x.exits(); code != exitDone {
		t.Errorf("exit %d: %q", code, x.text)
	}
	if !x.says("\x1b[?1049l") {
		t.Error("the terminal's own screen was not given back")
	}
}

// A hang-up ends a workbench in which nothing runs.
func TestWorkbenchHangsUp(t *testing.T) {
	x := startTerminal(t, 80, 24, t.TempDir())
	eventually(t, "the workbench", func() bool { return x.says("Train") })
	x.master.Close()
	if code := x.exits(); code != exitDone {
		t.Errorf("exit %d", code)
	}
}

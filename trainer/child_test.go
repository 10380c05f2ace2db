package trainer

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"

	"lathe/compute/cpu"
)

// childVariable, when set, makes the test binary a process that trains: what a user's second process, or a killed one, is.
const childVariable = "LATHE_TRAINER_CHILD"

type childTask struct {
	Config    Config
	Resume    string
	StopAfter int
	// FileLimit is the size at which writing a file fails in that process, 0 for none: a disk that is full.
	FileLimit uint64
}

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) == "" {
		os.Exit(m.Run())
	}
	if err := childMain(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// childMain reads a task, trains, and writes the events.
func childMain(in io.Reader, out io.Writer) error {
	var task childTask
	if err := json.NewDecoder(in).Decode(&task); err != nil {
		return err
	}
	dev, err := cpu.New(cpu.Options{})
	if err != nil {
		return err
	}
	ctx := context.Background()
	r, err := Prepare(ctx, dev, task.Config, Options{Resume: task.Resume, StopAfter: task.StopAfter})
	if err != nil {
		return err
	}
	if task.FileLimit > 0 {
		if err := limitFileSize(task.FileLimit); err != nil {
			return err
		}
	}
	return r.Train(ctx, nil, func(e Event) {
		line, err := MarshalEvent(e)
		if err != nil {
			panic(err)
		}
		fmt.Fprintf(out, "%s\n", line)
	})
}

// child is a running process; events are what it says.
type child struct {
	cmd    *exec.Cmd
	events *bufio.Scanner
	stderr *os.File
}

func startChild(t *testing.T, task childTask) *child {
	t.Helper()
	in, err := json.Marshal(task)
	if err != nil {
		t.Fatal(err)
	}
	input, err := os.CreateTemp(t.TempDir(), "task")
	if err != nil {
		t.Fatal(err)
	}
	defer input.Close()
	if _, err := input.Write(in); err != nil {
		t.Fatal(err)
	}
	if _, err := input.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	c := &child{cmd: exec.Command(os.Args[0])}
	c.cmd.Env = append(os.Environ(), childVariable+"=1")
	c.cmd.Stdin = input
	if c.stderr, err = os.CreateTemp(t.TempDir(), "stderr"); err != nil {
		t.Fatal(err)
	}
	c.cmd.Stderr = c.stderr
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.events = bufio.NewScanner(out)
	c.events.Buffer(nil, 1<<20)
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.stderr.Close() })
	return c
}

// next is the next event, nil at the end of the process's words.
func (c *child) next(t *testing.T) Event {
	t.Helper()
	if !c.events.Scan() {
		return nil
	}
	e, err := UnmarshalEvent(c.events.Bytes())
	if err != nil {
		t.Fatalf("%v: %q", err, c.events.Text())
	}
	return e
}

// wait reads to the end and returns all events and what the process said when it failed.
func (c *child) wait(t *testing.T) (events []Event, stderr string, err error) {
	t.Helper()
	for e := c.next(t); e != nil; e = c.next(t) {
		events = append(events, e)
	}
	err = c.cmd.Wait()
	text, readErr := os.ReadFile(c.stderr.Name())
	if readErr != nil {
		t.Fatal(readErr)
	}
	return events, string(text), err
}

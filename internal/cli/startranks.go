package cli

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"lathe/compute"
	"lathe/compute/distributed"
	"lathe/session"
)

// startRanks starts a process for each device after the first, meets them, and ends them with the group.
func (e *env) startRanks(ctx context.Context, devices []string, dev compute.Device, start session.Start, quiet bool) (_ compute.Group, err error) {
	launch := distributed.Launch{Size: len(devices), Address: "127.0.0.1", Token: rand.Text(), Kind: dev.Info().Kind}
	meeting, err := distributed.Listen(launch)
	if err != nil {
		return nil, err
	}
	launch.Port = meeting.Port()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	crew := &crew{}
	defer func() {
		if err != nil {
			crew.end(0)
		}
	}()
	for rank := 1; rank < len(devices); rank++ {
		forward := e.stderr
		if quiet {
			forward = io.Discard
		}
		p, err := startRank(launch, rank, rankWork{Device: devices[rank], Start: start}, forward)
		if err != nil {
			meeting.Close()
			return nil, fmt.Errorf("start rank %d on %s: %w", rank, devices[rank], err)
		}
		crew.ranks = append(crew.ranks, p)
		go func() {
			<-p.ended
			cancel(p.reason())
		}()
	}
	control, err := meeting.Wait(ctx)
	if err != nil {
		return nil, err
	}
	group, err := newGroup(control, dev)
	if err != nil {
		return nil, err
	}
	return &crewGroup{Group: group, crew: crew}, nil
}

// rankProcess is a process of another rank.
type rankProcess struct {
	rank  int
	cmd   *exec.Cmd
	ended chan struct{}
	last  string // its last line, where that says why it failed
}

func startRank(l distributed.Launch, rank int, work rankWork, forward io.Writer) (*rankProcess, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(work)
	if err != nil {
		return nil, err
	}
	p := &rankProcess{rank: rank, cmd: exec.Command(self, "rank"), ended: make(chan struct{})}
	p.cmd.Stdin = strings.NewReader(string(text))
	p.cmd.Env = append(os.Environ(),
		distributed.EnvRank+"="+strconv.Itoa(rank), distributed.EnvSize+"="+strconv.Itoa(l.Size), distributed.EnvLocalRank+"="+strconv.Itoa(rank),
		distributed.EnvAddress+"="+l.Address, distributed.EnvOwnPort+"="+strconv.Itoa(l.Port), distributed.EnvToken+"="+l.Token)
	messages, err := p.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go p.follow(messages, forward)
	return p, nil
}

// follow forwards what the process says, a line at a time and with its rank. The line that it fails with is held back: it
// becomes the run's.
func (p *rankProcess) follow(messages io.Reader, forward io.Writer) {
	lines := bufio.NewScanner(messages)
	lines.Buffer(nil, 1<<20)
	say := func() {
		if p.last != "" {
			fmt.Fprintf(forward, "rank %d: %s\n", p.rank, p.last)
		}
	}
	for lines.Scan() {
		say()
		p.last = lines.Text()
	}
	_, _ = io.Copy(io.Discard, messages) // after a line that is too long
	err := p.cmd.Wait()
	if text, ours := strings.CutPrefix(p.last, "lathe: "); ours && err != nil {
		p.last = text
	} else {
		say()
		p.last = ""
	}
	close(p.ended)
}

// reason is why a process that has ended did.
func (p *rankProcess) reason() error {
	if p.last != "" {
		return fmt.Errorf("rank %d failed: %s", p.rank, p.last)
	}
	return fmt.Errorf("rank %d ended before it had joined (%s)", p.rank, p.cmd.ProcessState)
}

// crew is the processes of all other ranks.
type crew struct {
	ranks []*rankProcess
	once  sync.Once
}

// patience is how long a rank may take to end after the run has.
const patience = 10 * time.Second

// end waits a while for the processes to end by themselves, then ends them.
func (c *crew) end(wait time.Duration) {
	c.once.Do(func() {
		deadline := time.After(wait)
		for _, p := range c.ranks {
			select {
			case <-p.ended:
				continue
			case <-deadline:
				deadline = time.After(0)
			}
			_ = p.cmd.Process.Kill()
			<-p.ended
		}
	})
}

// crewGroup is a group whose other ranks are processes of this one's.
type crewGroup struct {
	compute.Group
	crew *crew
}

// Close leaves the group and sees the other processes off.
func (g *crewGroup) Close() error {
	err := g.Group.Close()
	g.crew.end(patience)
	return err
}

// Abandon ends the group and the other processes.
func (g *crewGroup) Abandon(reason error) {
	if reason == nil {
		reason = errors.New("it gave up")
	}
	g.Group.Abandon(reason)
	g.crew.end(patience)
}

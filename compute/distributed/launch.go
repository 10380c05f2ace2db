// Package distributed joins the processes that train one run, on one host or several: who they are comes from torchrun's
// environment, they meet at rank 0 by TCP, and from then on each knows within seconds when another one ends. Over the same
// connections they exchange small messages and, on devices whose memory is the host's, sum gradients; GPUs sum theirs
// through NCCL (package cuda/nccl).
package distributed

import (
	"crypto/sha256"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// The environment of a rank. The first five are torchrun's; those of lathe's own stand beside them.
const (
	EnvRank      = "RANK"        // this process, from 0
	EnvSize      = "WORLD_SIZE"  // all processes
	EnvLocalRank = "LOCAL_RANK"  // this process among those of its host: its GPU
	EnvAddress   = "MASTER_ADDR" // the host of rank 0
	EnvPort      = "MASTER_PORT" // where rank 0 can be reached there
	// EnvAgentStore says that torchrun itself listens at MASTER_PORT; rank 0 then takes the next port.
	EnvAgentStore = "TORCHELASTIC_USE_AGENT_STORE"
	// EnvOwnPort, when set on all ranks, is the port in place of the one that follows from MASTER_PORT.
	EnvOwnPort = "LATHE_MASTER_PORT"
	// EnvToken is a secret that all ranks of a job share. Without it the number of the job that torchrun or Slurm gave has to do,
	// which keeps out other jobs but nobody who means harm.
	EnvToken = "LATHE_GROUP_TOKEN"
	// EnvTimeout is how long ranks wait for each other at the start, as Go writes it: 5m.
	EnvTimeout = "LATHE_JOIN_TIMEOUT"
)

// DefaultTimeout is how long ranks wait for each other at the start.
const DefaultTimeout = 5 * time.Minute

// Launch is what a process knows of its group before it has met the others.
type Launch struct {
	Rank, Size int
	// Local is the rank among the processes of this host, which is the number of its GPU.
	Local   int
	Address string // host of rank 0
	Port    int    // of rank 0; 0 where this process is rank 0 and takes any that is free
	Token   string
	Timeout time.Duration // DefaultTimeout where 0
	// Kind is what this rank computes on, "cpu" or "cuda": all ranks must have the same.
	Kind string
}

// FromEnvironment reads torchrun's convention. It is false where there is no group: no WORLD_SIZE, or one of 1.
func FromEnvironment(getenv func(string) string) (l Launch, found bool, err error) {
	if getenv(EnvSize) == "" {
		return l, false, nil
	}
	number := func(name string, least, most int) int {
		n, bad := strconv.Atoi(getenv(name))
		if (bad != nil || n < least || n > most) && err == nil {
			err = fmt.Errorf("%s=%q: give a whole number from %d to %d, as torchrun does, or unset %s to train in one process",
				name, getenv(name), least, most, EnvSize)
		}
		return n
	}
	l.Size = number(EnvSize, 1, 1<<16)
	if err != nil || l.Size == 1 {
		return Launch{}, false, err
	}
	l.Rank = number(EnvRank, 0, l.Size-1)
	if getenv(EnvLocalRank) != "" { // one process a host needs none
		l.Local = number(EnvLocalRank, 0, 1<<10)
	}
	if l.Address = getenv(EnvAddress); l.Address == "" && err == nil {
		err = fmt.Errorf("%s is missing: give the host of rank 0, as torchrun does, or unset %s to train in one process", EnvAddress, EnvSize)
	}
	if getenv(EnvOwnPort) != "" {
		l.Port = number(EnvOwnPort, 1, 65535)
	} else if l.Port = number(EnvPort, 1, 65535); getenv(EnvAgentStore) == "True" {
		l.Port = l.Port%65535 + 1
	}
	if text := getenv(EnvTimeout); text != "" {
		var bad error
		if l.Timeout, bad = time.ParseDuration(text); (bad != nil || l.Timeout <= 0) && err == nil {
			err = fmt.Errorf("%s=%q: give a duration such as 90s or 10m", EnvTimeout, text)
		}
	}
	l.Token = token(getenv)
	return l, true, err
}

// token is the shared secret, or what only this job has.
func token(getenv func(string) string) string {
	if t := getenv(EnvToken); t != "" {
		return t
	}
	h := sha256.New()
	for _, name := range []string{"TORCHELASTIC_RUN_ID", "SLURM_JOB_ID", "SLURM_STEP_ID", EnvAddress, EnvPort, EnvOwnPort} {
		fmt.Fprintf(h, "%s=%q\n", name, getenv(name))
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

func (l Launch) timeout() time.Duration {
	if l.Timeout > 0 {
		return l.Timeout
	}
	return DefaultTimeout
}

func (l Launch) place() string { return net.JoinHostPort(l.Address, strconv.Itoa(l.Port)) }

// listenAt is where rank 0 listens: on this host alone where all ranks are here.
func (l Launch) listenAt() string {
	if ip := net.ParseIP(l.Address); l.Address == "localhost" || ip != nil && ip.IsLoopback() {
		return l.place()
	}
	return net.JoinHostPort("", strconv.Itoa(l.Port))
}

// rankList is "1, 2 and 5".
func rankList(ranks []int) string {
	var b strings.Builder
	for i, r := range ranks {
		switch {
		case i == 0:
		case i == len(ranks)-1:
			b.WriteString(" and ")
		default:
			b.WriteString(", ")
		}
		b.WriteString(strconv.Itoa(r))
	}
	return b.String()
}

package distributed

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"lathe/compute"
	"lathe/compute/cpu"
)

func testLaunch(size int) Launch {
	return Launch{Size: size, Address: "127.0.0.1", Token: "secret", Kind: "cpu", Timeout: 20 * time.Second}
}

// meet joins ranks of this process; change makes a rank's launch another than that of all.
func meet(t *testing.T, l Launch, change func(rank int, l *Launch)) ([]*Control, []error) {
	t.Helper()
	m, err := Listen(l)
	if err != nil {
		t.Fatal(err)
	}
	l.Port = m.Port()
	controls, errs := make([]*Control, l.Size), make([]error, l.Size)
	var wait sync.WaitGroup
	for rank := range l.Size {
		own := l
		own.Rank = rank
		if change != nil {
			change(rank, &own)
		}
		wait.Go(func() {
			if rank == 0 {
				controls[0], errs[0] = m.Wait(t.Context())
			} else {
				controls[rank], errs[rank] = Join(t.Context(), own)
			}
		})
	}
	wait.Wait()
	return controls, errs
}

// each runs a call on every rank at once.
func each(controls []*Control, call func(c *Control) error) []error {
	errs := make([]error, len(controls))
	var wait sync.WaitGroup
	for i, c := range controls {
		wait.Go(func() { errs[i] = call(c) })
	}
	wait.Wait()
	return errs
}

func TestEnvironment(t *testing.T) {
	torchrun := map[string]string{EnvRank: "1", EnvSize: "4", EnvLocalRank: "1", EnvAddress: "node-0", EnvPort: "29500"}
	for _, test := range []struct {
		change map[string]string
		port   int
		want   string // in the error
	}{
		{nil, 29500, ""},
		{map[string]string{EnvAgentStore: "True"}, 29501, ""},
		{map[string]string{EnvAgentStore: "True", EnvPort: "65535"}, 1, ""},
		{map[string]string{EnvAgentStore: "True", EnvOwnPort: "7000", EnvPort: ""}, 7000, ""},
		{map[string]string{EnvLocalRank: ""}, 29500, ""},
		{map[string]string{EnvRank: "4"}, 0, `RANK="4": give a whole number from 0 to 3`},
		{map[string]string{EnvRank: ""}, 0, `RANK=""`},
		{map[string]string{EnvSize: "two"}, 0, `WORLD_SIZE="two"`},
		{map[string]string{EnvAddress: ""}, 0, "MASTER_ADDR is missing"},
		{map[string]string{EnvPort: ""}, 0, "MASTER_PORT"},
		{map[string]string{EnvTimeout: "soon"}, 0, "LATHE_JOIN_TIMEOUT"},
	} {
		l, found, err := FromEnvironment(func(name string) string {
			if v, ok := test.change[name]; ok {
				return v
			}
			return torchrun[name]
		})
		switch {
		case test.want != "":
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v: %v", test.change, err)
			}
		case err != nil || !found || l.Port != test.port || l.Rank != 1 || l.Size != 4:
			t.Errorf("%v: %+v, %v, %v", test.change, l, found, err)
		}
	}
	for _, size := range []string{"", "1"} {
		if _, found, err := FromEnvironment(func(name string) string { return map[string]string{EnvSize: size}[name] }); found || err != nil {
			t.Errorf("WORLD_SIZE=%q: %v, %v", size, found, err)
		}
	}
}

func TestGatherAndSum(t *testing.T) {
	controls, errs := meet(t, testLaunch(3), nil)
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	errs = each(controls, func(c *Control) error {
		for range 100 {
			all, err := c.Gather([]byte(fmt.Sprint("rank ", c.Rank())))
			if err != nil || string(all[0]) != "rank 0" || string(all[2]) != "rank 2" || len(all) != 3 {
				return fmt.Errorf("gathered %q: %w", all, err)
			}
		}
		return sumsAndCopies(c)
	})
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
	for _, c := range controls {
		c.Close()
		if c.Err() != nil {
			t.Errorf("after an orderly end: %v", c.Err())
		}
	}
}

// sumsAndCopies sums a small and a large buffer in the order of ranks and takes bytes from rank 0.
func sumsAndCopies(c *Control) error {
	dev, err := cpu.New(cpu.Options{Threads: 1})
	if err != nil {
		return err
	}
	defer dev.Close()
	h := NewHost(c, dev)
	large := make([]float32, chunk+5)
	for i := range large {
		large[i] = float32(i%7) + 1e-3*float32(c.Rank())
	}
	a, err := compute.From(dev, large)
	if err != nil {
		return err
	}
	b, err := compute.From(dev, []float32{1e8, float32(c.Rank())})
	if err != nil {
		return err
	}
	codes, err := compute.From(dev, []uint8{7, uint8(c.Rank())})
	if err != nil {
		return err
	}
	if err := errors.Join(h.SumAll([]compute.Buffer{a, b}), h.Broadcast([]compute.Buffer{codes})); err != nil {
		return err
	}
	got := compute.Download[float32](dev, a)
	for i, x := range got {
		v := float32(i % 7)
		if want := v + (v + 1e-3) + (v + 2e-3); x != want {
			return fmt.Errorf("element %d of the sum is %v, want %v", i, x, want)
		}
	}
	if got := compute.Download[float32](dev, b); got[0] != 3e8 || got[1] != 3 {
		return fmt.Errorf("sum %v", got)
	}
	if got := compute.Download[uint8](dev, codes); got[0] != 7 || got[1] != 0 {
		return fmt.Errorf("rank 0's bytes are %v", got)
	}
	return dev.Sync()
}

// Whoever does not know the token, or says nothing that a rank says, is turned away, and the ranks meet all the same.
func TestStrangersAreTurnedAway(t *testing.T) {
	l := testLaunch(2)
	m, err := Listen(l)
	if err != nil {
		t.Fatal(err)
	}
	l.Port, l.Rank = m.Port(), 1
	place := fmt.Sprintf("127.0.0.1:%d", l.Port)
	silent, err := net.Dial("tcp", place)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	loud, err := net.Dial("tcp", place)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(loud, "GET / HTTP/1.1\r\n\r\n%s", strings.Repeat("x", 10000))
	loud.Close()
	wrong := l
	wrong.Token, wrong.Timeout = "guessed", 5*time.Second
	if _, err := Join(t.Context(), wrong); err == nil || !strings.Contains(err.Error(), EnvToken) {
		t.Errorf("with another token: %v", err)
	}
	joined := make(chan error, 1)
	go func() {
		_, err := Join(t.Context(), l)
		joined <- err
	}()
	if _, err := m.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-joined; err != nil {
		t.Fatal(err)
	}
}

// Ranks that cannot train together say why, on both sides.
func TestMismatchedRanks(t *testing.T) {
	for _, test := range []struct {
		change func(*Launch)
		want   string
	}{
		{func(l *Launch) { l.Size = 3 }, "group of 3, rank 0 for one of 2: WORLD_SIZE"},
		{func(l *Launch) { l.Kind = "cuda" }, "computes on cuda, rank 0 on cpu"},
		{func(l *Launch) { l.Rank, l.Size = 2, 2 }, "needs a RANK of its own"},
	} {
		_, errs := meet(t, testLaunch(2), func(rank int, l *Launch) {
			if rank == 1 {
				test.change(l)
			}
		})
		for rank, err := range errs {
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("rank %d: %v, want %q", rank, err, test.want)
			}
		}
	}
}

func TestPortTakenAndRanksMissing(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	l := testLaunch(3)
	l.Port = taken.Addr().(*net.TCPAddr).Port
	if _, err := Listen(l); err == nil || !strings.Contains(err.Error(), "is taken: set LATHE_MASTER_PORT") {
		t.Errorf("a taken port: %v", err)
	}
	go func() { // another program
		for conn, err := taken.Accept(); err == nil; conn, err = taken.Accept() {
			fmt.Fprintln(conn, `{"greeting":"another program"}`)
			conn.Close()
		}
	}()
	l.Rank, l.Timeout = 1, 3*time.Second // a busy machine does not answer within one
	if _, err := Join(t.Context(), l); err == nil || !strings.Contains(err.Error(), "no rank 0 of this version of lathe") {
		t.Errorf("another program there: %v", err)
	}
	l = testLaunch(3)
	l.Timeout = 100 * time.Millisecond
	if _, err := Join(t.Context(), l); err == nil || !strings.Contains(err.Error(), "rank 1 and 2 of 3 did not come") {
		t.Errorf("nobody came: %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("rank 1 ended"))
	if _, err := Join(ctx, testLaunch(2)); err == nil || err.Error() != "rank 1 ended" {
		t.Errorf("ended before: %v", err)
	}
}

// A rank that fails tells all others its reason; one that goes without a word is missed at once.
func TestEndsReachAllRanks(t *testing.T) {
	for name, test := range map[string]struct {
		end  func(*Control)
		want string
	}{
		"abandoned": {func(c *Control) { c.Abandon(errors.New("out of memory")) }, "rank 2 (host "},
		"killed":    {func(c *Control) { c.peers[0].conn.Close() }, "ended without a word"},
		"left":      {func(c *Control) { c.Close() }, "ended before the run did"},
	} {
		t.Run(name, func(t *testing.T) {
			controls, errs := meet(t, testLaunch(3), nil)
			if err := errors.Join(errs...); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			errs = each(controls, func(c *Control) error {
				if c.Rank() == 2 {
					test.end(c)
					return nil
				}
				_, err := c.Gather(nil)
				return err
			})
			for rank, err := range errs[:2] {
				if !errors.Is(err, compute.ErrGroup) || !strings.Contains(err.Error(), test.want) {
					t.Errorf("rank %d: %v", rank, err)
				}
			}
			if took := time.Since(start); took > 10*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

// Messages that say more than they hold, or less, are no messages.
func FuzzUnpack(f *testing.F) {
	f.Add(pack([][]byte{[]byte("a"), nil}), 2)
	f.Add([]byte{255, 255, 255, 255, 1}, 1)
	f.Fuzz(func(t *testing.T, data []byte, n int) {
		if n < 0 || n > 100 {
			return
		}
		messages, err := unpack(data, n)
		if err == nil && len(pack(messages)) > len(data) {
			t.Errorf("%q became %q", data, messages)
		}
	})
}

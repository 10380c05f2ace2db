package distributed

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// Meeting is rank 0 waiting for the others.
type Meeting struct {
	launch   Launch
	listener net.Listener

	mu     sync.Mutex
	peers  []*peer
	missed string // why somebody was turned away last
	joined chan struct{}
	broken chan error // a rank that belongs here and does not fit
}

// challenge is what rank 0 says to whoever connects, hello the answer of a rank, welcome or a refusal rank 0's.
type challenge struct {
	Greeting string `json:"greeting"`
	Nonce    string `json:"nonce"`
}

type hello struct {
	Rank    int    `json:"rank"`
	Size    int    `json:"size"`
	Kind    string `json:"kind"`
	Host    string `json:"host"`
	Process int    `json:"process"`
	Nonce   string `json:"nonce"`
	Proof   string `json:"proof"`
}

type welcome struct {
	Host    string `json:"host"`
	Process int    `json:"process"`
	Proof   string `json:"proof"`
	Refusal string `json:"refusal,omitempty"`
}

// greeting names the protocol, with its version.
const greeting = "lathe group 1"

// shake is how long a handshake may take.
const shake = 10 * time.Second

// Listen opens the port at which rank 0 is met, and lets ranks in from then on.
func Listen(l Launch) (*Meeting, error) {
	listener, err := net.Listen("tcp", l.listenAt())
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("port %d of this host, where the other ranks look for rank 0, is taken: set %s to a free port, the same for all ranks", l.Port, EnvOwnPort)
	}
	if err != nil {
		return nil, fmt.Errorf("listen for the other ranks: %w: %s has to name this host, and %s a port that it may use", err, EnvAddress, EnvOwnPort)
	}
	m := &Meeting{launch: l, listener: listener, peers: make([]*peer, l.Size), joined: make(chan struct{}), broken: make(chan error, 1)}
	go m.accept()
	return m, nil
}

// Port is where the others find rank 0.
func (m *Meeting) Port() int { return m.listener.Addr().(*net.TCPAddr).Port }

func (m *Meeting) accept() {
	for {
		conn, err := m.listener.Accept()
		if err != nil {
			return // closed
		}
		go m.let(conn)
	}
}

// let takes a connection in, or closes it.
func (m *Meeting) let(conn net.Conn) {
	h, err := m.ask(conn)
	if err == nil {
		err = m.seat(conn, h)
	}
	if err != nil {
		m.mu.Lock()
		m.missed = fmt.Sprintf("%s was turned away: %v", conn.RemoteAddr(), err)
		m.mu.Unlock()
		conn.Close()
	}
}

// ask is rank 0's side of the handshake: both sides prove that they know the token without sending it.
func (m *Meeting) ask(conn net.Conn) (h hello, err error) {
	_ = conn.SetDeadline(time.Now().Add(shake))
	c := challenge{Greeting: greeting, Nonce: nonce()}
	if err := writeLine(conn, c); err != nil {
		return h, err
	}
	if err := readLine(conn, &h); err != nil {
		return h, errors.New("it is no rank of a run")
	}
	if !hmac.Equal([]byte(h.Proof), []byte(h.proof(m.launch.Token, c.Nonce))) {
		return h, fmt.Errorf("it does not know this job's token (%s has to be the same for all ranks)", EnvToken)
	}
	host, _ := os.Hostname()
	w := welcome{Host: host, Process: os.Getpid(), Proof: proof(m.launch.Token, "rank 0", h.Nonce, "")}
	w.Refusal = m.refusal(h)
	if err := writeLine(conn, w); err != nil {
		return h, err
	}
	if w.Refusal != "" {
		err := errors.New(w.Refusal)
		select {
		case m.broken <- err:
		default:
		}
		return h, err
	}
	return h, conn.SetDeadline(time.Time{})
}

// refusal is why a rank that knows the token does not fit, "" where it does.
func (m *Meeting) refusal(h hello) string {
	switch {
	case h.Size != m.launch.Size:
		return fmt.Sprintf("rank %d was started for a group of %d, rank 0 for one of %d: %s has to be the same for all ranks", h.Rank, h.Size, m.launch.Size, EnvSize)
	case h.Rank < 1 || h.Rank >= m.launch.Size:
		return fmt.Sprintf("a second process says that it is rank %d: every process needs a %s of its own", h.Rank, EnvRank)
	case h.Kind != m.launch.Kind:
		return fmt.Sprintf("rank %d (on %s) computes on %s, rank 0 on %s: give all ranks the same --device", h.Rank, h.Host, h.Kind, m.launch.Kind)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.peers[h.Rank] != nil {
		return fmt.Sprintf("two processes say that they are rank %d: every process needs a %s of its own", h.Rank, EnvRank)
	}
	return ""
}

func (m *Meeting) seat(conn net.Conn, h hello) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	select {
	case <-m.joined:
		return errors.New("all ranks are there already")
	default:
	}
	m.peers[h.Rank] = newPeer(h.Rank, h.Host, h.Process, conn)
	for r := 1; r < len(m.peers); r++ {
		if m.peers[r] == nil {
			return nil
		}
	}
	close(m.joined)
	return nil
}

func newPeer(rank int, host string, process int, conn net.Conn) *peer {
	p := &peer{
		rank: rank, name: fmt.Sprintf("rank %d (host %s, process %d)", rank, host, process), conn: conn,
		frames: make(chan frame, 4), done: make(chan struct{}),
	}
	p.input = bufio.NewReaderSize(p, 1<<16)
	return p
}

// Wait waits until all ranks have come, and turns no one else in.
func (m *Meeting) Wait(ctx context.Context) (*Control, error) {
	timeout := m.launch.timeout()
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	var err error
	select {
	case <-m.joined:
	case err = <-m.broken:
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-timer.C:
		err = m.late(timeout)
	}
	m.listener.Close()
	if err == nil {
		return newControl(m.launch, m.peers), nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.peers {
		if p != nil {
			close(p.done) // nobody reads
			p.sendWithin(time.Second, frameFailed, []byte("rank 0 failed: "+err.Error()))
			p.hangUp(0)
		}
	}
	return nil, err
}

// Close gives up waiting.
func (m *Meeting) Close() { m.listener.Close() }

// late names who has not come.
func (m *Meeting) late(timeout time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var missing []int
	for r := 1; r < len(m.peers); r++ {
		if m.peers[r] == nil {
			missing = append(missing, r)
		}
	}
	text := fmt.Sprintf("rank %s of %d did not come to port %d of this host within %v: their own output says why; %s waits longer",
		rankList(missing), m.launch.Size, m.Port(), timeout, EnvTimeout)
	if m.missed != "" {
		text += " (" + m.missed + ")"
	}
	return errors.New(text)
}

// Join meets the others: rank 0 waits for them, they go to rank 0.
func Join(ctx context.Context, l Launch) (*Control, error) {
	if l.Rank == 0 {
		m, err := Listen(l)
		if err != nil {
			return nil, err
		}
		return m.Wait(ctx)
	}
	return call(ctx, l)
}

// call goes to rank 0, which may not be there yet.
func call(ctx context.Context, l Launch) (*Control, error) {
	timeout := l.timeout()
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, errLate)
	defer cancel()
	var last error
	for {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", l.place())
		if err == nil {
			var p *peer
			if p, err = l.introduce(ctx, conn); err == nil {
				peers := make([]*peer, 1)
				peers[0] = p
				return newControl(l, peers), nil
			}
			conn.Close()
		}
		if errors.As(err, new(*PeerError)) {
			return nil, err
		}
		if ctx.Err() == nil || last == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			if cause := context.Cause(ctx); !errors.Is(cause, errLate) {
				return nil, cause
			}
			return nil, fmt.Errorf("rank 0 could not be met at %s within %v: %w: look at its own output, and whether %s can be reached from here",
				l.place(), timeout, last, l.Address)
		case <-time.After(250 * time.Millisecond):
		}
	}
}

var errLate = errors.New("too late")

// introduce is the other side of the handshake.
func (l Launch) introduce(ctx context.Context, conn net.Conn) (*peer, error) {
	deadline := time.Now().Add(shake)
	if all, ok := ctx.Deadline(); ok && all.Before(deadline) {
		deadline = all
	}
	_ = conn.SetDeadline(deadline)
	var c challenge
	if err := readLine(conn, &c); err != nil || c.Greeting != greeting {
		return nil, fmt.Errorf("what listens there is no rank 0 of this version of lathe (set %s if the port is another program's)", EnvOwnPort)
	}
	host, _ := os.Hostname()
	h := hello{Rank: l.Rank, Size: l.Size, Kind: l.Kind, Host: host, Process: os.Getpid(), Nonce: nonce()}
	h.Proof = h.proof(l.Token, c.Nonce)
	if err := writeLine(conn, h); err != nil {
		return nil, err
	}
	var w welcome
	if err := readLine(conn, &w); err != nil {
		return nil, fmt.Errorf("rank 0 closed the connection: another job may have this port, or %s is not the same for all ranks", EnvToken)
	}
	if !hmac.Equal([]byte(w.Proof), []byte(proof(l.Token, "rank 0", h.Nonce, ""))) {
		return nil, fmt.Errorf("what listens there does not know this job's token: %s has to be the same for all ranks", EnvToken)
	}
	if w.Refusal != "" {
		return nil, &PeerError{w.Refusal}
	}
	return newPeer(0, w.Host, w.Process, conn), conn.SetDeadline(time.Time{})
}

// proof is that a rank knows the token, for this connection and for what it says of itself.
func (h hello) proof(token, challenge string) string {
	h.Proof = ""
	said, _ := json.Marshal(h) // of strings and numbers
	return proof(token, "rank", challenge, string(said))
}

func proof(token, role, challenge, said string) string {
	mac := hmac.New(sha256.New, []byte(token))
	for _, part := range []string{role, challenge, said} {
		mac.Write([]byte(strconv.Quote(part)))
	}
	return hex.EncodeToString(mac.Sum(nil))
}

func nonce() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// maxLine bounds a line of the handshake.
const maxLine = 4096

func writeLine(conn net.Conn, v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = conn.Write(append(line, '\n'))
	return err
}

// readLine reads byte by byte, so that nothing of what follows is taken.
func readLine(conn net.Conn, v any) error {
	var line []byte
	for b := make([]byte, 1); ; {
		if _, err := conn.Read(b); err != nil {
			return err
		}
		if b[0] == '\n' {
			return json.Unmarshal(line, v)
		}
		if line = append(line, b[0]); len(line) > maxLine {
			return errors.New("a line without end")
		}
	}
}

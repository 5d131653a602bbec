package reload

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
)

const (
	// perSecond is what the load asks over UDP if the machine lets it.
	perSecond = 5000
	// tick is how often queries are sent, in bursts.
	tick = 2 * time.Millisecond
	// sockets are as many as clients that ask at once; the kernel gives each a
	// flow of its own.
	sockets = 16
	// window bounds the queries without an answer of one socket. All sockets
	// together stay far below what a server's receive buffer holds (some 270
	// datagrams by Linux's defaults): what a full buffer drops on a machine
	// that is too slow is not lost by a reload.
	window = 8
	// late is when a query without an answer is lost. Stub resolvers would ask
	// again after 5 s.
	late = 4 * time.Second
	// maxComplaints bounds what is remembered of what went wrong.
	maxComplaints = 10
)

// question is a question and the answers that are right.
type question struct {
	name  string
	qtype uint16
	right []string // of answer
}

// answer is a reply in the form of questions: its rcode, or the data of its
// answers, sorted.
func answer(m *dns.Msg) string {
	if m.Rcode != dns.RcodeSuccess {
		return dns.RcodeToString[m.Rcode]
	}
	var data []string
	for _, rr := range m.Answer {
		data = append(data, strings.TrimPrefix(rr.String(), rr.Header().String()))
	}
	slices.Sort(data)
	return strings.Join(data, " ")
}

// load asks a server all the time.
type load struct {
	questions []question
	cancel    context.CancelFunc
	done      sync.WaitGroup

	asked, answered atomic.Int64
	// tcp are queries over TCP, closed those whose connection ended before the
	// answer and that were asked again.
	tcp, closed atomic.Int64
	// held are sends that had to wait since the machine was too slow.
	held atomic.Int64

	mu         sync.Mutex
	bad        int
	complaints []string
}

// flow is one UDP socket of a load.
type flow struct {
	*load
	conn net.Conn
	mu   sync.Mutex
	next uint16
	open map[uint16]asked // by message id
}

type asked struct {
	question
	at time.Time
}

// begin starts to ask, until end or the test's end.
func begin(t *testing.T, server string, questions []question) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{questions: questions, cancel: cancel}
	t.Cleanup(func() {
		cancel()
		l.done.Wait()
	})
	for i := range sockets {
		conn, err := net.Dial("udp", server)
		require.NoError(t, err)
		f := &flow{load: l, conn: conn, next: uint16(i), open: map[uint16]asked{}}
		sent := make(chan struct{})
		l.done.Go(func() {
			defer close(sent)
			f.send(ctx)
		})
		l.done.Go(func() { f.receive(sent) })
	}
	l.done.Go(func() { l.connect(ctx, server) })
	return l
}

// send asks in its turn, as long as its window has room.
func (f *flow) send(ctx context.Context) {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	const each = float64(perSecond) / sockets
	begun, sent := time.Now(), 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for due := int(time.Since(begun).Seconds() * each); sent < due; sent++ {
			if !f.ask() {
				// What could not be sent is not made up for.
				f.held.Add(int64(due - sent))
				sent = due
				break
			}
		}
	}
}

func (f *flow) ask() bool {
	f.mu.Lock()
	if len(f.open) >= window {
		f.mu.Unlock()
		return false
	}
	f.next++
	q := f.questions[int(f.next)%len(f.questions)]
	m := new(dns.Msg).SetQuestion(q.name, q.qtype)
	m.Id = f.next
	f.open[m.Id] = asked{q, time.Now()}
	f.mu.Unlock()
	f.asked.Add(1)
	packet, err := m.Pack()
	if err == nil {
		_, err = f.conn.Write(packet)
	}
	if err != nil {
		f.complain("udp %s: send: %v", q.name, err)
	}
	return true
}

// receive reads answers until no more is asked, and all is answered or lost.
func (f *flow) receive(sent <-chan struct{}) {
	defer f.conn.Close()
	buffer := make([]byte, dns.MaxMsgSize)
	for {
		select {
		case <-sent:
			if f.sweep() == 0 {
				return
			}
		default:
			f.sweep()
		}
		_ = f.conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond)) // only fails on a closed socket
		n, err := f.conn.Read(buffer)
		if err != nil {
			continue
		}
		m := new(dns.Msg)
		if err := m.Unpack(buffer[:n]); err != nil {
			f.complain("an answer: %v", err)
			continue
		}
		f.mu.Lock()
		q, ok := f.open[m.Id]
		delete(f.open, m.Id)
		f.mu.Unlock()
		if !ok {
			f.complain("an answer to nothing: %v", m)
			continue
		}
		f.judge("udp", q.question, m)
	}
}

// sweep drops what is lost and returns how many are still open.
func (f *flow) sweep() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, q := range f.open {
		if since := time.Since(q.at); since > late {
			delete(f.open, id)
			f.complain("udp %s %s: lost, asked %v ago at %s", q.name, dns.TypeToString[q.qtype], since, q.at.Format(time.StampMicro))
		}
	}
	return len(f.open)
}

// connect asks over one TCP connection after the other. A server may close a
// connection before it has answered (CoreDNS does so with those that it has
// accepted but not read from when it stops); by RFC 7766 section 6.2.4 the
// client then asks over a new one. Who is not answered then has lost.
func (l *load) connect(ctx context.Context, server string) {
	client := dns.Client{Net: "tcp", Timeout: late}
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		q := l.questions[i%len(l.questions)]
		m := new(dns.Msg).SetQuestion(q.name, q.qtype)
		l.asked.Add(1)
		l.tcp.Add(1)
		r, _, err := client.Exchange(m, server)
		if err != nil {
			l.closed.Add(1)
			r, _, err = client.Exchange(m, server)
		}
		if err != nil {
			l.complain("tcp %s: %v", q.name, err)
			continue
		}
		l.judge("tcp", q, r)
	}
}

func (l *load) judge(network string, q question, m *dns.Msg) {
	l.answered.Add(1)
	if got := answer(m); !slices.Contains(q.right, got) {
		l.complain("%s %s %s: %s, want one of %q", network, q.name, dns.TypeToString[q.qtype], got, q.right)
	}
}

func (l *load) complain(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.bad++; len(l.complaints) < maxComplaints {
		l.complaints = append(l.complaints, fmt.Sprintf(format, args...))
	}
}

// end stops the load and wants that nothing was lost or wrong.
func (l *load) end(t *testing.T) {
	t.Helper()
	l.cancel()
	l.done.Wait()
	require.Zero(t, l.bad, "of %d queries:\n%s", l.asked.Load(), strings.Join(l.complaints, "\n"))
	require.Equal(t, l.asked.Load(), l.answered.Load())
}

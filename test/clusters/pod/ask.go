package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/isthmus-dns/isthmus/test/clusters/heard"
)

const (
	// between two questions; each name is asked for at each server in turn.
	between = 10 * time.Millisecond
	// patience with a server, and how often it is asked: resolv.conf(5)'s defaults.
	patience = 5 * time.Second
	attempts = 2
	// slow is what people notice.
	slow = time.Second
	// flush is how often what was heard is printed.
	flush = time.Second
)

// ask asks every name at both servers: at the one that the Pod was given, as
// any program here does, and at this node's agent, whose losses the other's
// own repetition would hide.
func ask(names []string) error {
	config, err := dns.ClientConfigFromFile("/etc/resolv.conf")
	if err != nil {
		return err
	}
	if len(config.Servers) == 0 || os.Getenv("AGENT") == "" {
		return errors.New("needs a name server in resolv.conf, and the agent's address in AGENT")
	}
	servers := map[string]string{heard.Resolver: config.Servers[0] + ":53", heard.Agent: os.Getenv("AGENT") + ":53"}
	l := &journal{runs: map[[2]string]*heard.Run{}, open: map[time.Time]int{}}
	go l.print()
	tick := time.NewTicker(between)
	var under sync.WaitGroup
	defer under.Wait()
	for {
		for _, name := range names {
			for via, server := range servers {
				<-tick.C
				asked := l.ask()
				// patience bounds how many there are.
				under.Go(func() { l.note(via, name, asked, query(server, name)) })
			}
		}
	}
}

// query asks as a stub resolver does, each time with a socket of its own.
func query(server, name string) (answer string) {
	q := new(dns.Msg)
	q.SetQuestion(name, dns.TypeA)
	client := &dns.Client{Timeout: patience}
	var r *dns.Msg
	var err error
	for range attempts {
		if r, _, err = client.Exchange(q, server); err == nil {
			break
		}
	}
	switch {
	case err != nil:
		return heard.Lost
	case r.Rcode == dns.RcodeServerFailure || r.Rcode == dns.RcodeRefused:
		return heard.Lost + " " + dns.RcodeToString[r.Rcode]
	case r.Rcode != dns.RcodeSuccess:
		return dns.RcodeToString[r.Rcode]
	}
	var addresses []string
	for _, rr := range r.Answer {
		if a, ok := rr.(*dns.A); ok {
			addresses = append(addresses, a.A.String())
		}
	}
	slices.Sort(addresses)
	if len(addresses) == 0 {
		return heard.NoData
	}
	return strings.Join(addresses, " ")
}

// journal keeps the present run for each server and name.
type journal struct {
	mu   sync.Mutex
	runs map[[2]string]*heard.Run
	open map[time.Time]int // when what is under way was asked
}

// ask begins a question.
func (l *journal) ask() (asked time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	asked = time.Now()
	l.open[asked]++
	return asked
}

// note counts an answer to a question of that time. Answers come out of order;
// so a run may begin before the one before it ended.
func (l *journal) note(via, name string, asked time.Time, answer string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[asked]--; l.open[asked] == 0 {
		delete(l.open, asked)
	}
	key := [2]string{via, name}
	run := l.runs[key]
	if run != nil && run.Answer != answer {
		write(run)
		run = nil
	}
	if run == nil {
		run = &heard.Run{Via: via, Name: name, Answer: answer, From: asked}
		l.runs[key] = run
	}
	run.To, run.Count = asked, run.Count+1
	if time.Since(asked) > slow {
		run.Slow++
	}
}

// print writes all runs and begins new ones.
func (l *journal) print() {
	for range time.Tick(flush) {
		l.mu.Lock()
		for _, run := range l.runs {
			write(run)
		}
		clear(l.runs)
		write(&heard.Run{Via: heard.Until, To: l.until()})
		l.mu.Unlock()
	}
}

// until is when the oldest question under way was asked.
func (l *journal) until() time.Time {
	oldest := time.Now()
	for asked := range l.open {
		if asked.Before(oldest) {
			oldest = asked
		}
	}
	return oldest
}

func write(run *heard.Run) {
	line, err := json.Marshal(run)
	if err != nil {
		panic(err) // text, times and a number
	}
	fmt.Println(string(line))
}

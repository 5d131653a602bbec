package history

import (
	"sync"
	"time"
)

// Node is a process in one of its lives.
type Node struct {
	Name string // as in "watcher of east"
	Life int    // from 1
}

// Version is (epoch, seq) of a cluster's part.
type Version struct{ Epoch, Seq uint64 }

// Less orders versions.
func (v Version) Less(o Version) bool {
	return v.Epoch < o.Epoch || v.Epoch == o.Epoch && v.Seq < o.Seq
}

// Commit is one version that a node made current.
type Commit struct {
	Node
	Line    int    // of the node's log
	Time    string // as logged; may be empty
	Cluster string
	UID     string
	Version
	Root    string
	Items   int
	Changed map[string]string // by key, the record's digest
	Removed []string          // keys
	Dropped bool              // the node forgot the cluster; only Cluster is set
}

// Service is one service of one cluster.
type Service struct{ Cluster, Name string }

// Absent is the value of a service that is not there.
const Absent = 0

// Write is a change that was asked for. It may have come to be at any time
// after Began.
type Write struct {
	Service
	Value int // Absent removes
	Began time.Time
}

// look is a run of equal answers about one service.
type look struct {
	value       int
	first, last time.Time // when the first and the last answer had come
	times       int
}

// series are the answers of one node about one service.
type series struct {
	Node
	Service
}

// Restore is a cluster's source that was put back to what it was before. Truth
// is what it says then; what is not in it is absent.
type Restore struct {
	Cluster string
	Began   time.Time
	Truth   map[string]int // by service
}

// Disk is what a node's copy on disk held when that life of it began.
type Disk struct {
	Node
	Versions map[string]Version // by cluster
}

// History is what happened. Its methods may be called by several goroutines,
// but looks at one node come from one.
type History struct {
	mu       sync.Mutex
	commits  []Commit
	writes   map[Service][]Write
	looks    map[series][]look
	finals   map[string]map[Service]int // by node's name
	restores []Restore
	disks    []Disk
}

// New is an empty history.
func New() *History {
	return &History{writes: map[Service][]Write{}, looks: map[series][]look{}, finals: map[string]map[Service]int{}}
}

// Commit adds commits of one node in their order.
func (h *History) Commit(commits ...Commit) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.commits = append(h.commits, commits...)
}

// Write adds a change before it is asked for.
func (h *History) Write(w Write) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.writes[w.Service] = append(h.writes[w.Service], w)
}

// Look adds an answer of a node about a service.
func (h *History) Look(n Node, s Service, value int, at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	key := series{n, s}
	runs := h.looks[key]
	if k := len(runs) - 1; k >= 0 && runs[k].value == value {
		runs[k].last = at
		runs[k].times++
		return
	}
	h.looks[key] = append(runs, look{value: value, first: at, last: at, times: 1})
}

// Final adds what a node shows when all is over.
func (h *History) Final(node string, s Service, value int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.finals[node] == nil {
		h.finals[node] = map[Service]int{}
	}
	h.finals[node][s] = value
}

// Restore adds a restore when its truth is known and before it shows: looks
// that came before are judged by their time.
func (h *History) Restore(r Restore) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.restores = append(h.restores, r)
}

// Disk adds what a life found on disk.
func (h *History) Disk(d Disk) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.disks = append(h.disks, d)
}

// Truth is what the sources say in the end, by all writes and restores.
func (h *History) Truth() map[Service]int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.truthLocked()
}

func (h *History) truthLocked() map[Service]int {
	truth := map[Service]int{}
	for s, writes := range h.writes {
		value, at := Absent, time.Time{}
		for _, w := range writes {
			value, at = w.Value, w.Began
		}
		for _, r := range h.restores {
			if r.Cluster == s.Cluster && !at.After(r.Began) {
				value, at = r.Truth[s.Name], r.Began
			}
		}
		truth[s] = value
	}
	return truth
}

// Size tells how much there is to judge: a history without looks proves
// nothing.
func (h *History) Size() (commits, looks, writes int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, runs := range h.looks {
		for _, l := range runs {
			looks += l.times
		}
	}
	for _, w := range h.writes {
		writes += len(w)
	}
	return len(h.commits), looks, writes
}

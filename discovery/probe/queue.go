package probe

import (
	"container/heap"
	"time"
)

// job is something that is due at a time: a probe's next check, or a cluster's
// next lookup.
type job struct {
	due    time.Time
	index  int // in the queue, counted from 1; 0 when it isn't there
	probe  *probed
	lookup *group
}

// queue holds jobs, the first one due at its head.
type queue []*job

var _ heap.Interface = (*queue)(nil)

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].due.Before(q[j].due) }

func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i+1, j+1
}

// Push implements heap.Interface.
func (q *queue) Push(x any) {
	j := x.(*job)
	*q = append(*q, j)
	j.index = len(*q)
}

// Pop implements heap.Interface.
func (q *queue) Pop() any {
	last := len(*q) - 1
	j := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	j.index = 0
	return j
}

// at puts a job in its place for a time, whether it is in the queue or not.
func (q *queue) at(j *job, due time.Time) {
	j.due = due
	if j.index > 0 {
		heap.Fix(q, j.index-1)
	} else {
		heap.Push(q, j)
	}
}

// remove takes a job out, if it is in.
func (q *queue) remove(j *job) {
	if j.index > 0 {
		heap.Remove(q, j.index-1)
	}
}

package kube

import (
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// An informer whose watch has ended goes on with a new one at the last resource
// version that it saw. That is right if the API server ended it at the time
// that was agreed on, which is what it does every five to ten minutes. If it
// ended before, the API server was restarted, and may have come back with an
// etcd that was restored from a backup: that one knows nothing of the last
// version seen, or gives it out a second time. A watch from there is accepted,
// and passes over all that happened in between, for ever: what was made since
// the backup stays in the informer, and what the backup brings back is not
// seen. So then everything is listed anew. It costs the API server one list of
// two or three watchers, and finds nothing changed if nothing has.

// endSlack is how much before its time a watch may end, for clocks that round.
const endSlack = time.Second

// errBroken makes an informer list anew.
var errBroken = apierrors.NewResourceExpired("the last watch ended before its time: listing anew")

// watches are those of one informer, one after another.
type watches struct {
	mu   sync.Mutex
	end  time.Time // when the last one should end; zero when there is none
	anew bool      // what is listed next must not lean on what was seen
}

// begin notes a new watch and returns how to ask for it. It is errBroken when
// the last one ended too soon for this one to go on where it did.
func (w *watches) begin(o metav1.ListOptions) (metav1.ListOptions, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	anew := w.anew || time.Until(w.end) > endSlack
	w.end, w.anew = time.Time{}, anew && resumes(o)
	if w.anew {
		return o, errBroken
	}
	if o.TimeoutSeconds != nil {
		w.end = time.Now().Add(time.Duration(*o.TimeoutSeconds) * time.Second)
	}
	return listing(o, anew), nil
}

// broken notes that the new watch is not to be used.
func (w *watches) broken() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.end, w.anew = time.Time{}, true
	return errBroken
}

// list returns how to ask for a list.
func (w *watches) list(o metav1.ListOptions) metav1.ListOptions {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.anew = w.anew || time.Until(w.end) > endSlack
	w.end = time.Time{}
	return listing(o, w.anew)
}

// listed notes that a list has come.
func (w *watches) listed() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.anew = false
}

// listing asks for what is there now rather than for what is not older than the
// last version seen: an etcd that has not come so far would have us wait.
func listing(o metav1.ListOptions, anew bool) metav1.ListOptions {
	if anew {
		o.ResourceVersion = ""
	}
	return o
}

// resumes tells a watch that goes on from a version from one that lists first.
func resumes(o metav1.ListOptions) bool {
	return o.SendInitialEvents == nil || !*o.SendInitialEvents
}

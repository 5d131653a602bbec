package kube

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/isthmus-dns/isthmus/discovery/export"
)

// The reasons of Events on Services.
const (
	eventExported    = "Exported"
	eventNotExported = "NotExported"
	eventNoGateway   = "NoGateway"
	eventConflict    = "Conflict"
	eventProblem     = "ExportProblem"
)

// note is one thing that an Event says.
type note struct{ kind, reason, text string }

// notes are what Events should say of a Service. What it is well known for comes
// first.
func notes(v *verdict, reached bool, conflict, message string) []note {
	if v == nil {
		return nil
	}
	if !v.exported {
		return []note{{corev1.EventTypeWarning, eventNotExported, "not exported: " + v.reason}}
	}
	out := []note{{corev1.EventTypeNormal, eventExported, "exported to the other clusters"}}
	switch {
	case !reached:
		out = append(out, note{corev1.EventTypeWarning, eventNoGateway, noGateway(v)})
	case v.problems != "":
		out = append(out, note{corev1.EventTypeWarning, eventProblem, v.problems})
	}
	if conflict != "" {
		out = append(out, note{corev1.EventTypeWarning, eventConflict, message})
	}
	return out
}

// maxEventText is what an Event's message may have (core/v1: 1024 octets).
const maxEventText = 1024

// about is the object that a verdict is about, if it is there.
func (w *watch) about(key cache.ObjectName) (corev1.ObjectReference, bool) {
	if at, ok := isEntry(key); ok {
		e := w.kinds.entry(at)
		version := w.kinds.entries.using.Load()
		if e == nil || version == nil {
			return corev1.ObjectReference{}, false
		}
		return corev1.ObjectReference{
			APIVersion: export.IstioGroup + "/" + *version, Kind: "ServiceEntry", Namespace: e.Namespace, Name: e.Name, UID: e.UID,
		}, true
	}
	svc := w.informers.service(key)
	if svc == nil {
		return corev1.ObjectReference{}, false
	}
	return corev1.ObjectReference{APIVersion: "v1", Kind: "Service", Namespace: svc.Namespace, Name: svc.Name, UID: svc.UID}, true
}

// writeEvent makes an Event about an object. Its name is made of what it says:
// a leader that follows another says nothing a second time while the first
// Event is there (an hour, by the API server's default).
func (s *Source) writeEvent(ctx context.Context, about corev1.ObjectReference, n note) error {
	text := n.text
	if len(text) > maxEventText {
		text = strings.ToValidUTF8(text[:maxEventText], "")
	}
	sum := sha256.Sum256([]byte(string(about.UID) + "\x00" + n.reason + "\x00" + text))
	now := metav1.Now()
	name := about.Name
	if most := 253 - 1 - 16; len(name) > most {
		name = name[:most]
	}
	_, err := s.cfg.Client.CoreV1().Events(about.Namespace).Create(ctx, &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: about.Namespace, Name: name + "." + hex.EncodeToString(sum[:8])},
		InvolvedObject: about,
		Type:           n.kind, Reason: n.reason, Message: text,
		Source:         corev1.EventSource{Component: "isthmus-watcher"},
		FirstTimestamp: now, LastTimestamp: now, Count: 1,
		ReportingController: "isthmus-watcher", ReportingInstance: s.cfg.Identity,
	}, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

// told is what was said of a Service, by reason.
type told map[string]string

// forget keeps of what was said only what is still so, so that it is said again
// when it comes back.
func (t told) forget(now []note) {
	for reason, text := range t {
		still := false
		for _, n := range now {
			still = still || n.reason == reason && n.text == text
		}
		if !still {
			delete(t, reason)
		}
	}
}

// tellings are by Service.
type tellings map[cache.ObjectName]told

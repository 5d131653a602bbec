package export

import (
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/isthmus-dns/isthmus/discovery"
)

// undeclared says why the Service is not to be exported; "" when it is.
func (b *builder) undeclared() string {
	svc := b.Service
	global, shared := b.cilium()
	declared := b.Export != nil || global && shared || b.Opts.All && !isKubernetes(svc) && !isExternalName(svc)
	if text, set := svc.Annotations[AnnotationExport]; set {
		yes, err := strconv.ParseBool(strings.TrimSpace(text))
		switch {
		case err != nil && b.Export == nil:
			// Somebody meant something. Under `export: all` it may have been
			// to opt out, so the safe reading is "no".
			return ReasonUnreadable
		case err != nil:
			b.problem("annotation %s: %q is neither true nor false", AnnotationExport, clip(text))
		case !yes:
			// The Service's own word wins over a ServiceExport as well:
			// whoever owns the Service decides who sees it.
			return ReasonOptedOut
		default:
			declared = true
		}
	} else if global && !shared && b.Export == nil {
		return ReasonNotShared // also of `export: all`
	}
	switch {
	case !declared && isKubernetes(svc):
		return ReasonKubernetes
	case !declared:
		return ReasonNotDeclared
	case svc.DeletionTimestamp != nil:
		// A finalizer holds it, mostly that of a load balancer that is being
		// taken down: who is sent there finds nobody soon.
		return ReasonBeingDeleted
	case isExternalName(svc):
		return ReasonExternalName
	case discovery.ValidLabel(svc.Namespace) != nil || discovery.ValidLabel(svc.Name) != nil:
		return ReasonBadName
	}
	return ""
}

// Named tells whether somebody has said of this very Service whether it is to be
// exported, by an annotation; `export: all` says it of none in particular.
func Named(svc *corev1.Service) bool {
	if svc == nil {
		return false
	}
	_, ours := svc.Annotations[AnnotationExport]
	_, ciliums := svc.Annotations[AnnotationCiliumGlobal]
	return ours || ciliums
}

// isKubernetes tells the API server's own Service. It exists in each cluster
// and means another thing in each, so only a declaration by name exports it.
func isKubernetes(svc *corev1.Service) bool {
	return svc.Namespace == corev1.NamespaceDefault && svc.Name == "kubernetes"
}

// isExternalName tells a Service that is but another name for something.
func isExternalName(svc *corev1.Service) bool { return svc.Spec.Type == corev1.ServiceTypeExternalName }

// exportedAt is when the export was declared, in Unix seconds: the
// ServiceExport's creation (KEP-1645 orders conflicts by it), else the
// Service's, as nobody knows when an annotation was added. 0 when unknown.
func (b *builder) exportedAt() int64 {
	at := b.Service.CreationTimestamp.Time
	if b.Export != nil && !b.Export.CreatedAt.IsZero() {
		at = b.Export.CreatedAt
	}
	if at.IsZero() {
		return 0
	}
	return at.Unix()
}

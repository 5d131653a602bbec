package export

import (
	"strconv"
	"strings"
)

// The annotations of Cilium's Cluster Mesh
// (docs.cilium.io/en/stable/network/clustermesh/services). Whoever moves from
// it, or has both, need not declare each Service twice.
const (
	// AnnotationCiliumGlobal: "true" exports.
	AnnotationCiliumGlobal = "service.cilium.io/global"
	// AnnotationCiliumShared: "false" takes a global Service's endpoints back:
	// it is used from here, and offers nothing.
	AnnotationCiliumShared = "service.cilium.io/shared"
	// AnnotationCiliumAffinity: "local" (own cluster first) is how names are
	// answered anyway; "remote" and "none" are for each viewer's routing policy.
	AnnotationCiliumAffinity = "service.cilium.io/affinity"
)

// cilium reads Cilium's declaration: a Service is shared unless it says not to
// be. Both are false where it isn't global.
func (b *builder) cilium() (global, shared bool) {
	text, set := b.Service.Annotations[AnnotationCiliumGlobal]
	if !set {
		return false, false
	}
	global, ok := b.ciliumFlag(AnnotationCiliumGlobal, text)
	if !global || !ok {
		return false, false
	}
	shared = true
	if text, set := b.Service.Annotations[AnnotationCiliumShared]; set {
		if shared, ok = b.ciliumFlag(AnnotationCiliumShared, text); !ok {
			shared = false // somebody meant something; the safe reading is "no"
		}
	}
	switch affinity := strings.TrimSpace(b.Service.Annotations[AnnotationCiliumAffinity]); affinity {
	case "", "local":
	default:
		b.problem("annotation %s: %q is not taken over: own cluster first, or what `routing` in watcher.yaml says of this Service",
			AnnotationCiliumAffinity, clip(affinity))
	}
	return global, shared
}

func (b *builder) ciliumFlag(name, text string) (yes, ok bool) {
	yes, err := strconv.ParseBool(strings.TrimSpace(text))
	if err != nil {
		b.problem("annotation %s: %q is neither true nor false", name, clip(text))
	}
	return yes, err == nil
}

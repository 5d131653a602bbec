package kube

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"github.com/isthmus-dns/isthmus/discovery/export"
)

// The conditions of a ServiceExport and their reasons are those of KEP-1645,
// as mcs-api v1beta1 has them.
const (
	conditionValid    = "Valid"
	conditionReady    = "Ready"
	conditionConflict = "Conflict"
)

// conditions are what a ServiceExport should say. They hold nothing that
// changes by itself, so that they are written once.
func conditions(v *verdict, reached bool, conflict, message string) []metav1.Condition {
	valid := metav1.Condition{Type: conditionValid, Status: metav1.ConditionTrue, Reason: "Valid", Message: "the Service can be exported"}
	ready := metav1.Condition{Type: conditionReady, Status: metav1.ConditionTrue, Reason: "Exported", Message: "other clusters know the Service"}
	switch {
	case !v.exported:
		valid.Status, valid.Message = metav1.ConditionFalse, v.reason
		switch v.reason {
		case export.ReasonNoService, export.ReasonBeingDeleted:
			valid.Reason = "NoService"
		case export.ReasonExternalName:
			valid.Reason = "InvalidServiceType"
		default:
			valid.Reason = "NotExported"
		}
		ready.Status, ready.Reason, ready.Message = metav1.ConditionFalse, "Failed", v.reason
	case !reached:
		ready.Status, ready.Reason, ready.Message = metav1.ConditionFalse, "Pending", noGateway(v)
	}
	clash := metav1.Condition{Type: conditionConflict, Status: metav1.ConditionFalse, Reason: "NoConflicts", Message: "all clusters that export it agree"}
	if conflict != "" {
		clash.Status, clash.Reason, clash.Message = metav1.ConditionTrue, conflict, message
	}
	return []metav1.Condition{valid, ready, clash}
}

// noGateway says what to do about a Service that no other cluster can reach.
func noGateway(v *verdict) string {
	return fmt.Sprintf("no gateway: other clusters know the Service and can't reach it (%s): give it a load balancer, an Ingress or Gateway, "+
		"or annotation %s, or the cluster a gateway set %q in watcher.yaml", cmp.Or(v.problems, "it has none of its own"), export.AnnotationGateway, v.set)
}

// merged are a ServiceExport's conditions with ours in their places; false when
// it says all of it already.
func merged(e *serviceExport, want []metav1.Condition) ([]metav1.Condition, bool) {
	all := append([]metav1.Condition(nil), e.Status.Conditions...)
	changed := false
	for _, c := range want {
		c.ObservedGeneration = e.Generation
		if old := meta.FindStatusCondition(all, c.Type); old != nil && old.ObservedGeneration == 0 {
			c.ObservedGeneration = 0 // CRDs of mcs-api before 0.2 have no such field, and would never say it
		}
		changed = meta.SetStatusCondition(&all, c) || changed
	}
	return all, changed
}

// writeConditions replaces the conditions of a ServiceExport, if it is still the
// one that was looked at.
func (s *Source) writeConditions(ctx context.Context, version string, e *serviceExport, now []metav1.Condition) error {
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"resourceVersion": e.ResourceVersion},
		"status":   map[string]any{"conditions": now},
	})
	if err != nil {
		return err
	}
	gvr := schema.GroupVersionResource{Group: mcsGroup, Version: version, Resource: "serviceexports"}
	_, err = s.cfg.Dynamic.Resource(gvr).Namespace(e.Namespace).Patch(ctx, e.Name, types.MergePatchType, patch, metav1.PatchOptions{}, "status")
	return err
}

// exportVersion is the version by which ServiceExports are followed, "" if none.
func (k *kinds) exportVersion() string {
	if version := k.exports.using.Load(); version != nil {
		return *version
	}
	return ""
}

// named is the ServiceExport of a Service, nil if there is none or it is being
// deleted.
func (k *kinds) named(key cache.ObjectName) *serviceExport {
	e, _ := k.exports.get(key.String()).(*serviceExport)
	if e.export() == nil {
		return nil
	}
	return e
}

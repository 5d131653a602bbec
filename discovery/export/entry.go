package export

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/isthmus-dns/isthmus/discovery"
)

// Why a ServiceEntry is not exported, besides the reasons of Services.
const (
	ReasonNoEntry       = "no ServiceEntry claims the name"
	ReasonOtherSpace    = "a ServiceEntry may only have names of its own namespace"
	ReasonNoClaim       = "no host of it is NAME.NAMESPACE.ZONE in a zone that source.kubernetes.zones of watcher.yaml names"
	ReasonEntryDeleted  = "the ServiceEntry is being deleted"
	ReasonNoEndpoints   = "it names no endpoints: its hosts are looked up and not served"
	ReasonResolution    = "resolution NONE has no endpoints: write STATIC, or DNS for host names"
	ReasonNoneUsable    = "none of its endpoints can be used"
	ReasonEmptySelector = "workloadSelector has no labels, or more than 64"
	ReasonNoPorts       = "it has no port that can be used"
)

// ServiceTaken is what the owner of a ServiceEntry is told whose name a Service
// has.
const ServiceTaken = "a Service of that name is exported and comes first"

// EntryInput is everything that BuildEntry looks at.
type EntryInput struct {
	// Entries are the ServiceEntries that may claim the name, in any order. One
	// of another namespace doesn't get it.
	Entries []*ServiceEntry
	// Service is the name that is asked about.
	Service Object
	// Workloads are the WorkloadEntries of the namespace, in any order; nil:
	// none are known.
	Workloads func() []*WorkloadEntry
	Opts      Options
}

// EntryResult is what BuildEntry finds.
type EntryResult struct {
	Result
	// Entry is the ServiceEntry that the record is made of; nil with no record.
	Entry *ServiceEntry
}

// BuildEntry makes the record of a service that is made of a ServiceEntry: of
// several that claim the name, the oldest that can be exported.
func BuildEntry(in EntryInput) EntryResult {
	var entries []*ServiceEntry
	for _, e := range in.Entries {
		if e != nil {
			entries = append(entries, e)
		}
	}
	slices.SortFunc(entries, compareAge)
	entries = entries[:min(len(entries), maxRivals)]
	out := EntryResult{Result: Result{Reason: ReasonNoEntry}}
	for _, e := range entries {
		result := buildEntry(e, &in)
		if result.Service != nil {
			return EntryResult{Result: result, Entry: e}
		}
		if out.Reason == ReasonNoEntry {
			out.Result = result
		}
	}
	return out
}

func buildEntry(e *ServiceEntry, in *EntryInput) Result {
	b := entryBuilder{builder: builder{Input: Input{Opts: in.Opts, Service: e.asService(in.Service.Name)}}, entry: e}
	if !slices.ContainsFunc(e.Claims(&in.Opts), func(c Claim) bool { return c.Service == in.Service }) {
		return Result{Reason: ReasonNoEntry}
	}
	if reason := b.undeclared(); reason != "" {
		return Result{Reason: reason, Problems: b.problems}
	}
	if e.Namespace != in.Service.Namespace {
		return Result{Reason: ReasonOtherSpace}
	}
	return b.build(in)
}

// undeclared says why the ServiceEntry is not to be exported; "" when it is.
func (b *entryBuilder) undeclared() string {
	e := b.entry
	yes, err := strconv.ParseBool(strings.TrimSpace(e.Annotations[AnnotationExport]))
	switch {
	case err != nil:
		return ReasonUnreadable
	case !yes:
		return ReasonOptedOut
	case e.DeletionTimestamp != nil:
		return ReasonEntryDeleted
	case len(e.Spec.Endpoints) == 0 && e.Spec.WorkloadSelector == nil:
		return ReasonNoEndpoints
	case e.Spec.Resolution == "" || e.Spec.Resolution == "NONE":
		return ReasonResolution
	case len(e.Spec.Endpoints) == 0 && len(e.Spec.WorkloadSelector.Labels) == 0:
		return ReasonEmptySelector
	}
	return ""
}

// entryBuilder is one run of buildEntry.
type entryBuilder struct {
	builder
	entry *ServiceEntry
}

// asService is a Service of that name with the ServiceEntry's annotations and
// ports, as far as those of a Service are read.
func (e *ServiceEntry) asService(name string) *corev1.Service {
	svc := &corev1.Service{}
	svc.Namespace, svc.Name = e.Namespace, name
	svc.CreationTimestamp, svc.Annotations = e.CreationTimestamp, e.Annotations
	for _, p := range e.Spec.Ports[:min(len(e.Spec.Ports), maxEntryPorts)] {
		number := int32(0) // no port number: it is a problem then
		if p.Number > 0 && p.Number <= 65535 {
			number = int32(p.Number)
		}
		protocol := corev1.ProtocolTCP // and all that Istio knows of what runs over it
		if strings.EqualFold(p.Protocol, "UDP") {
			protocol = corev1.ProtocolUDP
		}
		svc.Spec.Ports = append(svc.Spec.Ports, corev1.ServicePort{Name: p.Name, Protocol: protocol, Port: number})
	}
	return svc
}

func (b *entryBuilder) build(in *EntryInput) Result {
	if len(b.entry.Spec.Ports) > maxEntryPorts {
		b.problem("only the first %d ports are exported", maxEntryPorts)
	}
	ports := b.ports(discovery.KindExternal)
	if len(ports) == 0 {
		return Result{Reason: ReasonNoPorts, Problems: b.problems}
	}
	targets := b.targetPorts(ports)
	found := b.found(in, ports, targets)
	if len(found) == 0 && len(b.entry.Spec.Endpoints) > 0 {
		return Result{Reason: ReasonNoneUsable, Problems: b.problems}
	}
	out := &discovery.Service{
		Namespace:  in.Service.Namespace,
		Name:       in.Service.Name,
		Kind:       discovery.KindExternal,
		ExportedAt: b.exportedAt(),
		Weight:     b.weight(),
		Aliases:    b.aliases(),
	}
	all, addressed := endpointsOf(found)
	out.Counts = countZones(all)
	out.Endpoints = carry(addressed, out.Kind)
	for i := range ports {
		switch at := targets[i]; {
		case len(found) > 0:
			ports[i].Port.Port = found[0].ports[i]
		case at > 0 && at <= 65535:
			ports[i].Port.Port = uint16(at)
		}
	}
	b.reach(out, ports, found)
	out.Ports = modelPorts(ports)
	if reason := b.beyond(out); reason != "" {
		return Result{Reason: reason, Problems: b.problems}
	}
	return Result{Service: out, Check: b.checkEntry(all, addressed, ports), Problems: b.problems}
}

// reach sets how other clusters reach the service: by what the annotation says;
// a service outside of any mesh at its own addresses; one of the mesh as
// Services are, by the cluster's gateways, which lead to its machines.
func (b *entryBuilder) reach(out *discovery.Service, ports []port, found []entryEndpoint) {
	if text, set := b.entry.Annotations[AnnotationGateway]; set && b.annotated(out, text) {
		b.own(out, ports)
		return
	}
	if b.entry.Spec.Location == meshInternal {
		return
	}
	some := slices.ContainsFunc(found, func(e entryEndpoint) bool { return e.Ready })
	for _, e := range found {
		if some && !e.Ready {
			continue // they stay if there is no other, or the cluster's gateways would be asked
		}
		t := target{addr: e.Addr, host: e.host}
		g := t.gateway(discovery.GatewayStatic)
		g.Zone, g.Weight = e.Zone, e.weight
		out.Gateways = append(out.Gateways, g)
	}
	b.own(out, ports)
}

// checkEntry says how the endpoints are to be checked, nil for not at all.
func (b *entryBuilder) checkEntry(all, addressed []endpoint, ports []port) *discovery.EndpointCheck {
	text, set := b.entry.Annotations[AnnotationCheck]
	if !set || strings.EqualFold(strings.TrimSpace(text), "none") {
		return nil
	}
	spec, err := parseCheck(text)
	if err == nil && len(addressed) < len(all) {
		err = errors.New("some have a host name: give them addresses, or remove the annotation")
	}
	at := spec.port
	if err == nil && at == 0 {
		var name string
		if name, err = b.checkPortName(spec.portName); err == nil {
			i := slices.IndexFunc(ports, func(p port) bool { return p.name == name && p.Protocol == discovery.TCP })
			if i < 0 {
				err = fmt.Errorf("port %q can't be used", clip(name))
			} else {
				at = ports[i].Port.Port
			}
		}
	}
	if err != nil {
		b.problem("annotation %s: endpoints are not checked: %v", AnnotationCheck, err)
		return nil
	}
	out := spec.EndpointCheck
	out.Endpoints = b.checked(addressed, func(netip.Addr) uint16 { return at })
	return &out
}

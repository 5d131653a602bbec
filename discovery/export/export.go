package export

import (
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"github.com/isthmus-dns/isthmus/discovery"
)

// Options are what the cluster's configuration says about exporting.
type Options struct {
	// All exports every Service (`export: all`) except default/kubernetes,
	// ExternalName Services, and those that opt out with isthmus.dev/export: "false".
	All bool
	// NodeAddresses is which addresses of nodes are gateways:
	// AddressesExternal, AddressesInternal, or "" for external ones where a
	// node has any, else internal ones.
	NodeAddresses string
	// MaxNodes is how many nodes a NodePort service names; 0 means 8.
	MaxNodes int
	// SharesNetwork says that the cluster names a network: others there reach
	// its Pods, so ClusterIP services whose Pods listen at the Service's ports
	// carry their endpoints too.
	SharesNetwork bool
	// PodCIDRs and ServiceCIDRs are refused as gateway addresses: nobody
	// outside the cluster's network reaches them.
	PodCIDRs, ServiceCIDRs []netip.Prefix
	// Zones are where hosts of ServiceEntries are names of services, lower case
	// and without dots around them; none is [DefaultZone].
	Zones []string
	// AllowLoopback admits 127.0.0.0/8 and ::1, for demonstrations and tests
	// whose clusters all live on one machine.
	AllowLoopback bool
}

// The values of Options.NodeAddresses, those of corev1.NodeAddressType.
const (
	AddressesExternal = "External"
	AddressesInternal = "Internal"
)

// defaultMaxNodes bounds a NodePort record: 8 nodes survive the loss of
// several, and their addresses fit a DNS message of 512 octets.
const defaultMaxNodes = 8

// Export is a ServiceExport of any version, reduced to what matters here.
type Export struct {
	Namespace, Name string
	CreatedAt       time.Time
}

// Input is everything that Build looks at.
type Input struct {
	Service *corev1.Service
	Slices  []*discoveryv1.EndpointSlice   // of that Service, in any order
	Export  *Export                        // nil: none
	Nodes   func(name string) *corev1.Node // nil result: unknown node; nil func: no nodes known

	// Ingresses and Routes are those that may lead to the Service, in any
	// order; what doesn't is passed over. They are cut to their bounds (Bound,
	// BoundIngress) by whoever brings them, as are Gateways and grants.
	Ingresses []*networkingv1.Ingress
	Routes    []*Route
	// IngressClass tells whether there is a class of that name; nil: not known.
	IngressClass func(name string) bool
	// Gateway finds a Gateway, nil if there is none; a nil func knows none.
	Gateway func(Object) *Gateway
	// Grants are the ReferenceGrants of a namespace; a nil func knows none.
	Grants func(namespace string) []*ReferenceGrant

	Opts Options
}

// Result is what Build finds.
type Result struct {
	// Service is the record; nil means "not exported" and Reason says why.
	Service *discovery.Service
	// Check says how the Service's endpoints are to be checked; nil: not at all.
	Check *discovery.EndpointCheck
	// Reason is one of the Reason constants; "" when Service is set.
	Reason string
	// Awaits tells that something is there to give the Service gateways and has,
	// by its status, no address at the moment. Without it, gateways that are
	// gone were taken away by somebody.
	Awaits bool
	// Problems are what the user should know although the Service is
	// exported: one short sentence each, in a fixed order, a few at most.
	Problems []string
}

// Why a Service is not exported.
const (
	ReasonNoService    = "no such Service"
	ReasonBeingDeleted = "the Service is being deleted"
	ReasonNotDeclared  = "neither a ServiceExport nor annotation isthmus.dev/export"
	ReasonOptedOut     = "annotation isthmus.dev/export is \"false\""
	ReasonNotShared    = "annotation service.cilium.io/shared is \"false\""
	ReasonUnreadable   = "annotation isthmus.dev/export is neither \"true\" nor \"false\""
	ReasonKubernetes   = "default/kubernetes is each cluster's own"
	ReasonExternalName = "ExternalName services have no endpoints to export"
	ReasonBadName      = "namespace or name is not a DNS label"
	ReasonBeyondBounds = "the record breaks the model's bounds"
)

// Intended tells the reasons for which a Service is not exported because
// nobody wants it to be, from those that its owner should be told of.
func Intended(reason string) bool {
	switch reason {
	case ReasonNoService, ReasonBeingDeleted, ReasonNotDeclared, ReasonOptedOut, ReasonNotShared, ReasonKubernetes,
		ReasonNoEntry, ReasonEntryDeleted:
		return true
	}
	return false
}

// Build makes the record of one Service, or says why there is none.
func Build(in Input) Result {
	if in.Service == nil {
		return Result{Reason: ReasonNoService}
	}
	b := builder{Input: in}
	if reason := b.undeclared(); reason != "" {
		return Result{Reason: reason, Problems: b.problems}
	}
	out := &discovery.Service{
		Namespace:      in.Service.Namespace,
		Name:           in.Service.Name,
		Kind:           discovery.KindClusterIP,
		ClientAffinity: in.Service.Spec.SessionAffinity == corev1.ServiceAffinityClientIP,
		ExportedAt:     b.exportedAt(),
		Weight:         b.weight(),
		Aliases:        b.aliases(),
	}
	if in.Service.Spec.ClusterIP == corev1.ClusterIPNone {
		out.Kind = discovery.KindHeadless
	}
	b.ips = b.clusterIPs(out.Kind)
	out.ClusterIPs = b.ips
	endpoints := b.endpoints()
	out.Counts = countZones(endpoints)
	if out.Kind == discovery.KindHeadless || in.Opts.SharesNetwork && b.direct() {
		out.Endpoints = carry(endpoints, out.Kind)
	}
	ports := b.ports(out.Kind)
	b.gateways(out, ports, endpoints)
	out.Ports = modelPorts(ports)
	if reason := b.beyond(out); reason != "" {
		return Result{Reason: reason, Problems: b.problems}
	}
	check := b.check(endpoints)
	return Result{Service: out, Check: check, Awaits: b.awaits, Problems: b.problems}
}

// beyond says why the record can't leave the cluster, "" if it can. Everything
// before keeps the bounds, so the first is a net for mistakes here.
func (b *builder) beyond(out *discovery.Service) string {
	if err := out.Validate(); err != nil {
		b.problem("%v", err)
		return ReasonBeyondBounds
	}
	giveWay(out)
	if n := serviceBytes(out); n > maxRecordBytes {
		b.problem("the record takes up to %d octets, at most %d are allowed: name fewer aliases or ports", n, maxRecordBytes)
		return ReasonBeyondBounds
	}
	return ""
}

// builder is one run of Build.
type builder struct {
	Input
	problems            []string
	awaits              bool         // see Result
	more                bool         // there are more fronts than are looked at
	ips                 []netip.Addr // the Service's own
	zoneText, zoneValue string       // the zone that was read last
}

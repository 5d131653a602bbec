package export

import (
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/isthmus-dns/isthmus/discovery"
)

// IstioGroup is the API group of ServiceEntry and WorkloadEntry.
const IstioGroup = "networking.istio.io"

// DefaultZone is where names of services lie if [Options] name no zones.
const DefaultZone = "global"

// AnnotationHealthChecks is what Istio puts on a WorkloadEntry whose machine its
// agent checks: without a verdict such a one is not ready yet.
const AnnotationHealthChecks = "proxy.istio.io/health-checks-enabled"

// What is looked at of a ServiceEntry. An object may be of 1.5 MiB, and its
// endpoints are read for each service that it claims, whenever one changes: at
// these bounds it takes some 50 ms.
const (
	maxClaims       = 8
	maxEntryPorts   = 32
	maxWorkloads    = MaxChecked
	maxSelectLabels = 64
	maxRivals       = 16  // ServiceEntries that claim one name
	maxAddressText  = 254 // a host name with a dot at its end
)

// healthy is the condition that holds Istio's verdict.
const healthy = "Healthy"

// ServiceEntry is what counts of Istio's kind of that name, which is the same in
// v1, v1beta1 and v1alpha3. Istio's own types are not used: they would bring its
// whole API into the program.
type ServiceEntry struct {
	metav1.ObjectMeta `json:"metadata"`

	Spec ServiceEntrySpec `json:"spec"`
}

// ServiceEntrySpec is what is behind a host.
type ServiceEntrySpec struct {
	Hosts      []string    `json:"hosts"`
	Ports      []EntryPort `json:"ports"`
	Location   string      `json:"location"`   // "" is MESH_EXTERNAL
	Resolution string      `json:"resolution"` // "" is NONE
	Endpoints  []Workload  `json:"endpoints"`
	// WorkloadSelector chooses WorkloadEntries in the place of Endpoints.
	WorkloadSelector *WorkloadSelector `json:"workloadSelector"`
}

// WorkloadSelector chooses by labels, of which there must be some.
type WorkloadSelector struct {
	Labels map[string]string `json:"labels"`
}

// EntryPort is a port of a ServiceEntry.
type EntryPort struct {
	Number     int64  `json:"number"`
	Protocol   string `json:"protocol"`
	Name       string `json:"name"`
	TargetPort int64  `json:"targetPort"` // where endpoints listen that name no port of their own; 0: at Number
}

// Workload is one endpoint: of a ServiceEntry, or the spec of a WorkloadEntry.
type Workload struct {
	Address  string            `json:"address"`
	Ports    map[string]int64  `json:"ports"` // by the names of the ServiceEntry's ports
	Labels   map[string]string `json:"labels"`
	Locality string            `json:"locality"` // region/zone/subzone
	Weight   int64             `json:"weight"`   // 0: not set, which is 1
}

// WorkloadEntry is what counts of Istio's kind of that name: a machine outside
// Kubernetes.
type WorkloadEntry struct {
	metav1.ObjectMeta `json:"metadata"`

	Spec   Workload `json:"spec"`
	Status struct {
		Conditions []Condition `json:"conditions"`
	} `json:"status"`
}

// The values of Location and Resolution that make a difference.
const (
	meshInternal = "MESH_INTERNAL"
	static       = "STATIC"
)

// Claim is a host of a ServiceEntry that is the name of a service.
type Claim struct {
	Host string // as it is written
	// Service has the host's labels for its name and namespace. The ServiceEntry
	// may be of another namespace.
	Service Object
}

// Claims are the hosts of the form NAME.NAMESPACE.ZONE, each service once, of a
// ServiceEntry that is annotated to be exported. Other hosts are none of ours:
// outside the zones, wildcards, and those of one cluster or endpoint of a
// service, which a mesh may want to know of. And others' ServiceEntries are not:
// those that lead a mesh to another cluster have just such hosts, and to export
// them would send that cluster's clients here.
func (e *ServiceEntry) Claims(o *Options) []Claim {
	if !e.Declared() {
		return nil
	}
	var out []Claim
	for _, host := range e.Spec.Hosts {
		at, ok := o.service(host)
		if !ok || slices.ContainsFunc(out, func(c Claim) bool { return c.Service == at }) {
			continue
		}
		if out = append(out, Claim{Host: host, Service: at}); len(out) == maxClaims {
			break // the rest is not spoken of: whoever writes so many has no service in mind
		}
	}
	return out
}

// Declared tells whether somebody has said that the ServiceEntry is to be
// exported, or not to be.
func (e *ServiceEntry) Declared() bool {
	_, set := e.Annotations[AnnotationExport]
	return set
}

// service reads NAME.NAMESPACE.ZONE.
func (o *Options) service(host string) (Object, bool) {
	if len(host) > 254 {
		return Object{}, false
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	for _, zone := range o.zones() {
		labels, ok := strings.CutSuffix(host, "."+zone)
		if !ok {
			continue
		}
		name, namespace, _ := strings.Cut(labels, ".")
		if discovery.ValidLabel(name) == nil && discovery.ValidLabel(namespace) == nil {
			return Object{Namespace: namespace, Name: name}, true
		}
	}
	return Object{}, false
}

func (o *Options) zones() []string {
	if len(o.Zones) == 0 {
		return []string{DefaultZone}
	}
	return o.Zones
}

// inZones tells a host that is answered by ourselves.
func (o *Options) inZones(host string) bool {
	return slices.ContainsFunc(o.zones(), func(zone string) bool { return host == zone || strings.HasSuffix(host, "."+zone) })
}

// Own are the claims in the ServiceEntry's namespace, the only ones that count:
// whoever may write into one namespace must not take the names of another.
func (e *ServiceEntry) Own(o *Options) []Claim {
	return slices.DeleteFunc(e.Claims(o), func(c Claim) bool { return c.Service.Namespace != e.Namespace })
}

// Selects tells whether a WorkloadEntry is one of the endpoints.
func (e *ServiceEntry) Selects(w *WorkloadEntry) bool {
	if e.Spec.WorkloadSelector == nil || len(e.Spec.WorkloadSelector.Labels) == 0 || e.Namespace != w.Namespace {
		return false
	}
	for name, want := range e.Spec.WorkloadSelector.Labels {
		got, ok := w.Labels[name] // Istio: those of the object win
		if !ok {
			got, ok = w.Spec.Labels[name]
		}
		if !ok || got != want {
			return false
		}
	}
	return true
}

// ready is Istio's verdict on the machine: without one it counts as ready,
// unless Istio has been told to find one.
func (w *WorkloadEntry) ready() bool {
	if yes, known, _ := is(w.Status.Conditions, healthy); known {
		return yes
	}
	return w.Annotations[AnnotationHealthChecks] != "true"
}

// compareAge orders ServiceEntries that claim the same host: the first has it.
func compareAge(x, y *ServiceEntry) int {
	if c := x.CreationTimestamp.Time.Compare(y.CreationTimestamp.Time); c != 0 {
		return c
	}
	return strings.Compare(x.Name, y.Name)
}

// Bound cuts the ServiceEntry to what is looked at, and one more where the owner
// is told that there is more. Of one that claims nothing only the name is left,
// which is most of them where a mesh keeps a list of outside hosts.
func (e *ServiceEntry) Bound(o *Options) {
	claims := e.Claims(o)
	if len(claims) == 0 {
		e.Spec = ServiceEntrySpec{}
		if !e.Declared() {
			e.Annotations = nil
		}
		return
	}
	s := &e.Spec
	s.Hosts = nil
	for _, c := range claims {
		s.Hosts = append(s.Hosts, c.Host)
	}
	s.Ports = cut(s.Ports, maxEntryPorts+1)
	s.Endpoints = cut(s.Endpoints, maxWorkloads+1)
	for i := range s.Endpoints {
		s.Endpoints[i].bound()
		s.Endpoints[i].Labels = nil
	}
	if s.WorkloadSelector != nil && len(s.WorkloadSelector.Labels) > maxSelectLabels {
		s.WorkloadSelector.Labels = nil // one label less would choose more
	}
}

// Bound cuts the WorkloadEntry to what is looked at.
func (w *WorkloadEntry) Bound() {
	w.Spec.bound()
	conditions := w.Status.Conditions
	w.Status.Conditions = nil
	for _, c := range conditions {
		if c.Type == healthy && len(w.Status.Conditions) == 0 {
			w.Status.Conditions = []Condition{{Type: c.Type, Status: c.Status}} // a new time is no change
		}
	}
}

func (w *Workload) bound() {
	if len(w.Address) > maxAddressText {
		w.Address = w.Address[:maxAddressText+1] // still too long
	}
	if len(w.Ports) > 128 { // as the CRD has it
		w.Ports, w.Address = nil, "" // no endpoint of any service
	}
}

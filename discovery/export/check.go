package export

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/isthmus-dns/isthmus/discovery"
)

const (
	// MaxChecked is how many endpoints of one Service are checked. Beyond it
	// they count as their slices say.
	MaxChecked = 1024
	// maxCheckPath is what discovery/probe asks for at most.
	maxCheckPath = 1024
)

// checkSpec is what the annotation says.
type checkSpec struct {
	discovery.EndpointCheck        // without Endpoints
	port                    uint16 // 0: portName's
	portName                string // of the Service; "" with port 0: its first TCP port
}

// check says how the Service's endpoints are to be checked, nil for not at all.
// A mistake never takes an endpoint out: what isn't understood is not checked,
// and counts as the slices say.
func (b *builder) check(endpoints []endpoint) *discovery.EndpointCheck {
	text, set := b.Service.Annotations[AnnotationCheck]
	if !set || strings.EqualFold(strings.TrimSpace(text), "none") {
		return nil
	}
	spec, err := parseCheck(text)
	switch {
	case err != nil:
	case len(b.Service.Spec.Selector) > 0:
		err = errors.New("the Service has a selector, so that its Pods' readiness probes decide: remove the annotation")
	case b.Service.Spec.PublishNotReadyAddresses:
		err = errors.New("publishNotReadyAddresses has all endpoints count as ready: remove one of the two")
	}
	var ports func(netip.Addr) uint16
	if err == nil {
		ports, err = b.checkPorts(spec)
	}
	if err != nil {
		b.problem("annotation %s: endpoints are not checked: %v", AnnotationCheck, err)
		return nil
	}
	out := spec.EndpointCheck
	out.Endpoints = b.checked(endpoints, ports)
	return &out
}

// checked gives each endpoint the port at which it is checked, as far as it may
// be.
func (b *builder) checked(endpoints []endpoint, ports func(netip.Addr) uint16) []discovery.CheckedEndpoint {
	out := make([]discovery.CheckedEndpoint, 0, len(endpoints))
	count, beyond := 0, 0
	for _, e := range endpoints {
		checked := discovery.CheckedEndpoint{Endpoint: e.Endpoint}
		switch port := ports(e.Addr); {
		case port == 0: // its slice was named
		case !b.Opts.checkable(e.Addr):
			b.problem("annotation %s: endpoint %s is not checked: loopback, link-local and metadata addresses are not connected to",
				AnnotationCheck, e.Addr)
		case count == MaxChecked:
			beyond++
		default:
			checked.Port = port
			count++
		}
		out = append(out, checked)
	}
	if beyond > 0 {
		b.problem("annotation %s: only %d of %d endpoints are checked: part them among several Services", AnnotationCheck, count, count+beyond)
	}
	return out
}

// checkable tells the addresses that the watcher may connect to: those that
// others may, as whoever may write EndpointSlices says what they are.
func (o *Options) checkable(a netip.Addr) bool {
	return discovery.Fit(a) || o.AllowLoopback && a.Unmap().IsLoopback()
}

// checkPorts finds the port at which an address is checked; 0 for none. A slice
// names its ports as the Service does, and each may have another number. Of an
// address in several slices it is the lowest, whatever their order.
func (b *builder) checkPorts(spec checkSpec) (func(netip.Addr) uint16, error) {
	if spec.port != 0 {
		return func(netip.Addr) uint16 { return spec.port }, nil
	}
	name, err := b.checkPortName(spec.portName)
	if err != nil {
		return nil, err
	}
	ports := map[netip.Addr]uint16{}
	var without []string // slices that don't have it
	for _, slice := range b.Slices {
		if slice == nil || slice.AddressType == discoveryv1.AddressTypeFQDN || len(slice.Endpoints) == 0 {
			continue
		}
		port := slicePort(slice, name)
		if port == 0 {
			without = append(without, slice.Name)
			continue
		}
		for i := range slice.Endpoints {
			if e, ok := b.endpoint(&slice.Endpoints[i]); ok && (ports[e.Addr] == 0 || port < ports[e.Addr]) {
				ports[e.Addr] = port
			}
		}
	}
	slices.Sort(without) // problems have an order of their own
	for _, slice := range without {
		b.problem("annotation %s: EndpointSlice %s has no TCP port %q, its endpoints are not checked: name the Service's port there, or write a number",
			AnnotationCheck, clip(slice), clip(name))
	}
	return func(a netip.Addr) uint16 { return ports[a] }, nil
}

// checkPortName is the name of the Service's port that is checked, which may be
// "" for its only one.
func (b *builder) checkPortName(want string) (string, error) {
	for i := range b.Service.Spec.Ports {
		p := &b.Service.Spec.Ports[i]
		if (p.Protocol == corev1.ProtocolTCP || p.Protocol == "") && (want == "" || p.Name == want) {
			return p.Name, nil
		}
	}
	if want == "" {
		return "", errors.New("the Service has no TCP port: write a number behind the type, as in tcp:5432")
	}
	return "", fmt.Errorf("the Service has no TCP port %q: write one of its ports' names, or a number", clip(want))
}

func slicePort(slice *discoveryv1.EndpointSlice, name string) uint16 {
	for i := range slice.Ports {
		p := &slice.Ports[i]
		if p.Port != nil && *p.Port >= 1 && *p.Port <= 65535 && value(p.Name) == name && sameProtocol(p.Protocol, corev1.ProtocolTCP) {
			return uint16(*p.Port)
		}
	}
	return 0
}

// parseCheck reads TYPE[:PORT][/PATH]. The port is that of the endpoint, as in
// a Pod's probe: a number, or a port's name of the Service.
func parseCheck(text string) (checkSpec, error) {
	text = strings.TrimSpace(text)
	rest, path := text, ""
	if i := strings.IndexByte(text, '/'); i >= 0 {
		rest, path = text[:i], text[i:]
	}
	kind, port, hasPort := strings.Cut(rest, ":")
	var spec checkSpec
	switch strings.ToLower(kind) {
	case "tcp":
		spec.Check = discovery.CheckTCP
	case "tls":
		spec.Check = discovery.CheckTLS
	case "http":
		spec.Check = discovery.CheckHTTP
	case "https":
		spec.Check, spec.Secure = discovery.CheckHTTP, true
	default:
		return spec, fmt.Errorf("%q is none of tcp, tls, http and https: write for example tcp, or http:8080/healthz", clip(kind))
	}
	switch {
	case strings.HasPrefix(path, "//"):
		return spec, fmt.Errorf("%q looks like a URL: write %s:PORT/PATH, the addresses are the EndpointSlices'", clip(text), strings.ToLower(kind))
	case path != "" && spec.Check != discovery.CheckHTTP:
		return spec, fmt.Errorf("%q has a path, which is for http and https: remove it", clip(text))
	case path != "":
		if err := validPath(path); err != nil {
			return spec, err
		}
		spec.Path = path
	}
	if !hasPort {
		return spec, nil
	}
	return spec, spec.parsePort(port)
}

func (s *checkSpec) parsePort(text string) error {
	n, err := strconv.ParseUint(text, 10, 16)
	switch {
	case err == nil && n > 0:
		s.port = uint16(n)
	case discovery.ValidLabel(text) == nil && strings.Trim(text, "0123456789") != "":
		s.portName = text
	default:
		return fmt.Errorf("%q is neither a port from 1 to 65535 nor a port's name", clip(text))
	}
	return nil
}

// validPath wants what can be asked for as it stands: whatever an HTTP server
// would call a bad request looks like one that is down.
func validPath(path string) error {
	if len(path) > maxCheckPath {
		return fmt.Errorf("the path has %d octets, at most %d are allowed", len(path), maxCheckPath)
	}
	for i := range len(path) {
		if path[i] <= ' ' || path[i] > '~' || path[i] == '#' {
			return fmt.Errorf("the path %q holds more than printable ASCII without spaces and #: escape it, as in %%20", clip(path))
		}
	}
	if _, err := url.ParseRequestURI(path); err != nil {
		return fmt.Errorf("the path %q can't be asked for: escape %% as %%25", clip(path))
	}
	return nil
}

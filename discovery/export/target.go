package export

import (
	"cmp"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// targets counts the endpoints by the number of the port at which they serve a
// Service's port. Slices name ports as the Service does. Hand-made ones may
// tell nothing; then nothing is counted.
func (b *builder) targets(p *corev1.ServicePort) map[uint16]int {
	counts := map[uint16]int{}
	for _, slice := range b.Slices {
		if slice == nil || slice.AddressType == discoveryv1.AddressTypeFQDN {
			continue
		}
		for i := range slice.Ports {
			e := &slice.Ports[i]
			if e.Port == nil || *e.Port < 1 || *e.Port > 65535 || value(e.Name) != p.Name || !sameProtocol(e.Protocol, p.Protocol) {
				continue
			}
			counts[uint16(*e.Port)] += len(slice.Endpoints)
		}
	}
	return counts
}

func sameProtocol(x *corev1.Protocol, y corev1.Protocol) bool {
	if x == nil {
		x = new(corev1.Protocol)
	}
	return cmp.Or(*x, corev1.ProtocolTCP) == cmp.Or(y, corev1.ProtocolTCP)
}

// target is the port at which most Pods serve a Service's port, of as many the
// lowest: while named ports move, some Pods have the old number. Not told, it
// is the Service's own.
func (b *builder) target(p *corev1.ServicePort) uint16 {
	best, most := uint16(p.Port), -1
	for port, n := range b.targets(p) {
		if n > most || n == most && port < best {
			best, most = port, n
		}
	}
	return best
}

// direct tells whether Pods serve at the Service's own ports. An address record
// leads to no other: elsewhere it is the virtual address that translates.
func (b *builder) direct() bool {
	for i := range b.Service.Spec.Ports {
		p := &b.Service.Spec.Ports[i]
		for port, n := range b.targets(p) {
			if n > 0 && int32(port) != p.Port {
				return false
			}
		}
	}
	return true
}

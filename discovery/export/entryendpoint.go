package export

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/isthmus-dns/isthmus/discovery"
)

// entryEndpoint is an endpoint of a ServiceEntry: a machine at an address, or
// whatever a host name leads to.
type entryEndpoint struct {
	endpoint
	host   string   // only when Addr is not valid
	weight uint32   // 0: not set
	ports  []uint16 // where it listens, in the order of the record's ports
}

// found are the endpoints that can be used, each address and host name once, in
// a fixed order. All listen at the same ports.
func (b *entryBuilder) found(in *EntryInput, ports []port, targets []int64) []entryEndpoint {
	var out []entryEndpoint
	read := 0
	add := func(w *Workload, ready bool) {
		if read++; read > maxWorkloads {
			b.problem("only the first %d endpoints count: part them among several ServiceEntries", maxWorkloads)
			return
		}
		e, err := b.workload(w, ports, targets)
		if err != nil {
			b.problem("endpoint %v", err)
			return
		}
		e.Ready = ready
		out = append(out, e)
	}
	for i := range b.entry.Spec.Endpoints {
		add(&b.entry.Spec.Endpoints[i], true)
	}
	if b.entry.Spec.WorkloadSelector != nil && len(b.entry.Spec.Endpoints) == 0 && in.Workloads != nil {
		for _, w := range sortedWorkloads(in.Workloads()) {
			if w.DeletionTimestamp == nil && b.entry.Selects(w) {
				add(&w.Spec, w.ready())
			}
		}
	}
	out = b.sameports(out)
	slices.SortFunc(out, compareEntryEndpoints)
	return slices.CompactFunc(out, func(x, y entryEndpoint) bool { return x.Addr == y.Addr && x.host == y.host })
}

// sortedWorkloads are in the order of their names, so that problems are.
func sortedWorkloads(all []*WorkloadEntry) []*WorkloadEntry {
	all = slices.DeleteFunc(slices.Clone(all), func(w *WorkloadEntry) bool { return w == nil })
	slices.SortFunc(all, func(x, y *WorkloadEntry) int { return strings.Compare(x.Name, y.Name) })
	return all
}

// compareEntryEndpoints orders by address; of the same one ready comes first, as
// while a machine registers anew it may be there twice.
func compareEntryEndpoints(x, y entryEndpoint) int {
	ready := 0
	if x.Ready != y.Ready {
		ready = 1
		if x.Ready {
			ready = -1
		}
	}
	return cmp.Or(x.Addr.Compare(y.Addr), strings.Compare(x.host, y.host), ready,
		strings.Compare(x.Zone, y.Zone), cmp.Compare(x.weight, y.weight))
}

// targetPorts are where endpoints listen that name no port of their own.
func (b *entryBuilder) targetPorts(ports []port) []int64 {
	out := make([]int64, len(ports))
	for i, p := range ports {
		out[i] = int64(p.number)
		for _, e := range b.entry.Spec.Ports {
			if e.Name == p.name && e.Number == int64(p.number) && e.TargetPort != 0 {
				out[i] = e.TargetPort
			}
		}
	}
	return out
}

// workload reads one endpoint, but for whether it is ready.
func (b *entryBuilder) workload(w *Workload, ports []port, targets []int64) (entryEndpoint, error) {
	out := entryEndpoint{ports: make([]uint16, len(ports))}
	if err := b.where(w.Address, &out); err != nil {
		return out, err
	}
	for i, p := range ports {
		at := targets[i]
		if own, ok := w.Ports[p.name]; ok && own != 0 {
			at = own
		}
		if at < 1 || at > 65535 {
			return out, fmt.Errorf("%s: port %d of %q is not a port number", clip(w.Address), at, clip(p.name))
		}
		out.ports[i] = uint16(at)
	}
	locality, err := discovery.ParseLocality(w.Locality)
	if err != nil {
		b.problem("endpoint %s: %v", clip(w.Address), err)
	}
	out.Zone = locality.Zone
	out.weight = uint32(min(max(w.Weight, 0), discovery.MaxWeight))
	return out, nil
}

// where reads an endpoint's address: what a gateway may not be, nobody is sent
// to here, as it is any tenant who writes it.
func (b *entryBuilder) where(text string, out *entryEndpoint) error {
	switch {
	case text == "":
		return errors.New("without an address: those that only their network's gateway reaches have none to answer")
	case strings.HasPrefix(text, "unix:"):
		return fmt.Errorf("%s: a Unix socket is on one machine only", clip(text))
	}
	if _, err := netip.ParseAddr(text); err == nil {
		addr, err := b.Opts.gatewayAddr(text)
		switch {
		case err != nil:
			return err
		case !b.Opts.checkable(addr):
			return fmt.Errorf("address %s refused: a cloud's metadata", addr)
		}
		out.Addr = addr
		return nil
	}
	host, err := b.Opts.gatewayHost(text)
	switch {
	case err != nil:
		return err
	case b.entry.Spec.Resolution == static:
		return fmt.Errorf("host %s: resolution STATIC has addresses only", clip(host))
	case b.entry.Spec.Location == meshInternal:
		return fmt.Errorf("host %s: what is MESH_INTERNAL needs an address", clip(host))
	case b.Opts.inZones(host):
		return fmt.Errorf("host %s: leads back to these names", clip(host))
	}
	out.host = host
	return nil
}

// sameports keeps the endpoints that listen where most do, of as many the
// lowest: an address record leads to no other port, and a record has but one
// for each of the service's.
func (b *entryBuilder) sameports(all []entryEndpoint) []entryEndpoint {
	type tally struct {
		ports []uint16
		n     int
	}
	tallies := map[string]*tally{}
	var key []byte
	for i := range all {
		key = key[:0]
		for _, p := range all[i].ports {
			key = binary.BigEndian.AppendUint16(key, p)
		}
		t := tallies[string(key)]
		if t == nil {
			t = &tally{ports: all[i].ports}
			tallies[string(key)] = t
		}
		t.n++
	}
	if len(tallies) < 2 {
		return all
	}
	best := &tally{}
	for _, t := range tallies {
		if t.n > best.n || t.n == best.n && slices.Compare(t.ports, best.ports) < 0 {
			best = t
		}
	}
	var out []entryEndpoint
	for i := range all {
		if e := &all[i]; slices.Equal(e.ports, best.ports) {
			out = append(out, *e)
		} else {
			b.problem("endpoint %s listens at other ports than most: give it a ServiceEntry of its own", e.name())
		}
	}
	return out
}

func (e *entryEndpoint) name() string {
	if e.host != "" {
		return clip(e.host)
	}
	return e.Addr.String()
}

// endpointsOf are all endpoints, and those with an address.
func endpointsOf(found []entryEndpoint) (all, addressed []endpoint) {
	for i := range found {
		all = append(all, found[i].endpoint)
		if found[i].Addr.IsValid() {
			addressed = append(addressed, found[i].endpoint)
		}
	}
	return all, addressed
}

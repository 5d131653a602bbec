package discovery

// Update is what a source or a replica says about one cluster's part. The
// receiver owns it: the sender keeps no reference to anything in it.
type Update struct {
	// Cluster is the cluster's own record; nil leaves it as it is.
	Cluster *Cluster
	// Whole means that Services is the complete set and whatever is not in it
	// is gone. The first update of a source is whole: nothing is published
	// before it.
	Whole    bool
	Services []*Service // new or changed
	Removed  []Key      // gone; must be empty when Whole
	// Checks say how endpoints of those Services are to be checked that want
	// it. Only a cluster's own source sends any, and discovery/external takes
	// them out again.
	Checks map[Key]*EndpointCheck
	// Meant names those of Services whose gateways are all that they are meant
	// to have: no load balancer, Ingress, Gateway or node of theirs is without
	// an address, or without readiness, for the moment. What others have lost
	// may be back in seconds.
	Meant map[Key]bool
}

// Mean notes that a service has the gateways that it is meant to have.
func (u *Update) Mean(key Key) {
	if u.Meant == nil {
		u.Meant = map[Key]bool{}
	}
	u.Meant[key] = true
}

// Add adds a service that is new or changed. check is nil when its endpoints
// are not to be checked.
func (u *Update) Add(s *Service, check *EndpointCheck) {
	u.Services = append(u.Services, s)
	if check == nil {
		return
	}
	if u.Checks == nil {
		u.Checks = map[Key]*EndpointCheck{}
	}
	u.Checks[s.Key()] = check
}

// Version says how new a part is. Versions of one cluster are ordered by Epoch
// and then by Seq; clocks play no role.
type Version struct {
	Epoch, Seq uint64
}

// Less tells whether v is older than w.
func (v Version) Less(w Version) bool {
	return v.Epoch < w.Epoch || v.Epoch == w.Epoch && v.Seq < w.Seq
}

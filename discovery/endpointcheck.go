package discovery

// EndpointCheck says how the endpoints of one service are to be checked before
// they count as ready, because nobody else does: VMs and outside services that
// a Service without a selector stands for. It is between a source and whoever
// checks for the owner, and never leaves the cluster: others see the counts.
type EndpointCheck struct {
	Check  Check  // CheckTCP, CheckTLS or CheckHTTP
	Secure bool   // HTTP inside TLS
	Path   string // what HTTP asks for, with its query; "" is "/"
	// Endpoints are all of the service's, each address once, ordered by it, and
	// ready as the source says. The record has no more than their counts.
	Endpoints []CheckedEndpoint
}

// CheckedEndpoint is an endpoint and where it is checked.
type CheckedEndpoint struct {
	Endpoint
	Port uint16 // at Addr; 0: not checked, and ready if the source says so
}

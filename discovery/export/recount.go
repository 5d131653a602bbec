package export

import "github.com/isthmus-dns/isthmus/discovery"

// Recount sets what a record says of its endpoints anew, when more is known of
// them than slices say: endpoints are all of the service's, ordered by address.
// With those that it was built from, the record stays as it is. Gateways don't
// change: nodes serve whether the endpoint behind them is up or not.
func Recount(record *discovery.Service, endpoints []discovery.Endpoint) {
	all := make([]endpoint, len(endpoints))
	for i, e := range endpoints {
		all[i].Endpoint = e
	}
	record.Counts = countZones(all)
	if record.Endpoints != nil {
		record.Endpoints = carry(all, record.Kind)
		giveWay(record)
	}
}

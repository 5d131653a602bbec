// Package export turns the Kubernetes objects around one Service, or Istio's
// around a service that is outside of the cluster, into the record that other
// clusters see: is it exported, how many endpoints are ready in which zone, and
// at which gateway can it be reached.
//
// It is pure: no I/O, no goroutine, no clock, no logger. It does not know
// where the objects come from (informers in discovery/kube, files in
// discovery/manifest), when to ask again, or what is done with the record.
// Equal input gives an equal record, whatever the order of the slices, so that
// two watchers of a cluster agree and an unchanged Service is seen to be so.
//
// Objects are read, never kept or changed. Annotations and status fields are
// text from outside: what is wrong in them becomes a Problem, never a panic,
// and the record always passes [discovery.Service.Validate].
//
// What is read of the objects, for a source that drops the rest in its cache:
//
//	Service        namespace, name, creationTimestamp, deletionTimestamp,
//	               annotations isthmus.dev/* and service.cilium.io/*,
//	               spec.{type, clusterIP, clusterIPs, ports, sessionAffinity,
//	               publishNotReadyAddresses},
//	               status.loadBalancer
//	EndpointSlice  addressType, ports[].{name, protocol, port},
//	               endpoints[].{addresses[0], conditions, hostname, nodeName,
//	               zone}
//	Node           name, deletionTimestamp, labels topology.kubernetes.io/*,
//	               spec.{unschedulable, podCIDRs}, status.conditions[Ready],
//	               status.addresses
//	Ingress        namespace, name, deletionTimestamp, spec but for paths and
//	               secrets, status.loadBalancer
//	Gateway API    the types of gatewayapi.go
//	ServiceEntry,  the types of serviceentry.go, with annotations isthmus.dev/*
//	WorkloadEntry  and that of Istio's health checks
//
// With isthmus.dev/check also a Service's spec.selector, and a slice's name.
package export

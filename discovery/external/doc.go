// Package external checks endpoints that no kubelet checks, for the cluster
// that owns them: VMs and outside services behind a Service without a selector.
// It stands between a source and the publisher, and what it finds is how many
// endpoints are ready in what is published.
//
//	source ─▶ Checker.Update ──────────────▶ Emit ─▶ replica.Publisher
//	              │ services with a check      ▲
//	              ▼                            │ counted anew
//	           targets ─▶ probe.Prober ─▶ Snapshot
//	                      (while it leads)
//
// It knows neither Kubernetes nor gossip: how to check comes with the update
// (discovery.EndpointCheck, which discovery/export reads from an annotation),
// and what the cluster published last from a function.
package external

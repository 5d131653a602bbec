// Package api is what a watcher tells about itself over HTTP, and the client
// of it that "isthmus status", "isthmus list" and "isthmus explain" are made of:
//
//	/metrics           Prometheus
//	/healthz           200 while the process serves
//	/readyz            200 once agents may take the table for the whole, else 503
//	/api/v1/status     the watcher, its clusters and its pool
//	/api/v1/services   services by name, in pages
//	/api/v1/explain    where clients of a service are sent, and why
//	/api/v1/gateways   addresses of other clusters' gateways, and how they do
//
// It only reads: the table, the pool's members, who leads, what checks found. There are no
// credentials, so a watcher listens on loopback unless told otherwise; nothing
// here is secret in a cluster, but a page of it costs work, so few requests
// are served at once.
package api

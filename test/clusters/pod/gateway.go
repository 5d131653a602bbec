package main

import (
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
)

// passed is the header in which a gateway says which cluster's it is.
const passed = "X-Passed-Gateway"

// gateway gives each request to the Service of its own cluster that the Host
// header names, on the Service's port 80.
func gateway(domain string) http.Handler {
	return &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		host := r.In.Host
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		labels := strings.SplitN(host, ".", 3)
		if len(labels) < 3 { // such as a health check's
			labels = []string{"none", "none"}
		}
		r.SetURL(&url.URL{Scheme: "http", Host: labels[0] + "." + labels[1] + "." + domain})
		r.Out.Header.Set(passed, os.Getenv("CLUSTER"))
	}}
}

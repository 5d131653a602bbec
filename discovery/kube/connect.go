package kube

import (
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// A watcher asks little: a few watches, a Lease a second, an epoch a term.
// client-go's default of 5 a second would still queue a Lease renewal behind
// the burst of an informer's start; these limits only stop a runaway.
const (
	clientQPS   = 50
	clientBurst = 100
)

// Clients are the two forms in which the source talks to one API server.
type Clients struct {
	Kubernetes kubernetes.Interface
	Dynamic    dynamic.Interface
}

// Connect makes clients for the API server that a kubeconfig file names, in one
// of its contexts or, with an empty one, its current context; with an empty
// path, for the one of the cluster this Pod runs in. Nothing is asked yet, so
// an API server that is down is no error.
func Connect(kubeconfig, context string) (Clients, error) {
	config, err := access(kubeconfig, context)
	if err != nil {
		return Clients{}, fmt.Errorf("API server access: %w", err)
	}
	return ConnectTo(config)
}

func access(kubeconfig, context string) (*rest.Config, error) {
	if kubeconfig == "" {
		return rest.InClusterConfig()
	}
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(
		&clientcmd.ClientConfigLoadingRules{ExplicitPath: kubeconfig},
		&clientcmd.ConfigOverrides{CurrentContext: context},
	).ClientConfig()
}

// ConnectTo is Connect for a configuration that is at hand; it is not changed.
func ConnectTo(config *rest.Config) (Clients, error) {
	config = rest.CopyConfig(config)
	config.UserAgent = "isthmus-watcher"
	config.QPS, config.Burst = clientQPS, clientBurst
	dyn, err := dynamic.NewForConfig(config)
	if err != nil {
		return Clients{}, fmt.Errorf("API server access: %w", err)
	}
	// The built-in kinds come as protobuf: half the bytes and a fifth of the
	// decoding of JSON. The dynamic client knows no schema and can't.
	config.ContentType = runtime.ContentTypeProtobuf
	config.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	typed, err := kubernetes.NewForConfig(config)
	if err != nil {
		return Clients{}, fmt.Errorf("API server access: %w", err)
	}
	return Clients{Kubernetes: typed, Dynamic: dyn}, nil
}

// Command kube is Kubernetes' API server and etcd in one binary, for tests
// that want the real ones. The first argument chooses the program.
//
// It is a module of its own so that Kubernetes' dependencies stay out of the
// product's go.mod.
package main

import (
	"fmt"
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
)

func main() {
	name := ""
	if len(os.Args) > 1 {
		os.Args = os.Args[1:]
		name = os.Args[0]
	}
	switch name {
	case "etcd":
		etcdmain.Main(os.Args)
	case "kube-apiserver":
		os.Exit(cli.Run(apiserver.NewAPIServerCommand()))
	default:
		fmt.Fprintln(os.Stderr, "usage: kube etcd|kube-apiserver [flags]")
		os.Exit(2)
	}
}

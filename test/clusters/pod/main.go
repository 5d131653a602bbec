// Command pod is the program of the tests' own Pods:
//
//	[echo]            answers HTTP on port 8080 with the cluster's name
//	gateway DOMAIN    an HTTP gateway on port 8080, as an Ingress controller is one: a
//	                  request for SERVICE.NAMESPACE.ZONE goes to SERVICE.NAMESPACE.DOMAIN
//	ask NAME...       asks for the names' addresses all the time, and prints what it hears
package main

import (
	"fmt"
	"log"
	"net/http"
	"os"
)

func main() {
	if len(os.Args) < 2 {
		os.Args = append(os.Args, "echo")
	}
	switch args := os.Args[2:]; {
	case os.Args[1] == "echo" && len(args) == 0:
		log.Fatal(http.ListenAndServe(":8080", http.HandlerFunc(echo)))
	case os.Args[1] == "gateway" && len(args) == 1:
		log.Fatal(http.ListenAndServe(":8080", gateway(args[0])))
	case os.Args[1] == "ask" && len(args) > 0:
		log.Fatal(ask(args))
	default:
		log.Fatal("usage: pod [echo] | gateway DOMAIN | ask NAME...")
	}
}

// echo says who answers, as traefik/whoami would, and by which way the request
// came.
func echo(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, "Name: %s\nGateway: %q\n", os.Getenv("CLUSTER"), r.Header.Get(passed))
}

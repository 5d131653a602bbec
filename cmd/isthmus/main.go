// Command isthmus is cross-cluster DNS and service discovery for Kubernetes:
// the watcher, the agent and the tools of both in one binary.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	os.Exit(execute(ctx, os.Args[1:]))
}

// Exit codes that scripts can use.
const (
	exitOK      = 0
	exitFailure = 1 // something went wrong while running
	exitUsage   = 2 // the command line or a configuration is wrong; nothing was started
)

// execute runs a command line. Each line of an error goes to stderr with our
// name before it; most errors are one line.
func execute(ctx context.Context, args []string) int {
	root := newRoot()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	for line := range strings.SplitSeq(strings.TrimSpace(err.Error()), "\n") {
		fmt.Fprintf(os.Stderr, "isthmus: %s\n", line)
	}
	var wrong *usageError
	if errors.As(err, &wrong) {
		return exitUsage
	}
	return exitFailure
}

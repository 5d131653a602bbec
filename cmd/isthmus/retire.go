package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/isthmus-dns/isthmus/cmd/isthmus/internal/config"
	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica"
	"github.com/isthmus-dns/isthmus/gossip/trust"
)

// retireTimeout bounds the talk with one watcher: some round trips.
const retireTimeout = 30 * time.Second

// retirement is what the command line of retire says.
type retirement struct {
	cluster   string
	watchers  []string
	config    string
	files     trust.Files
	undo, yes bool
}

func newRetire() *cobra.Command {
	var r retirement
	cmd := &cobra.Command{
		Use:   "retire CLUSTER",
		Short: "Take a cluster out of the clusterset for good",
		Long: `Take a cluster out of the clusterset for good: its names vanish in all clusters
at once, and heads of it that somebody kept count for nothing any more. A
cluster that is built anew may take the name.

It takes the certificate of the cluster's own watcher: that of its watcher.yaml
(-c), or --cert, --key and --ca. For a cluster that is lost, the owner of the
root issues one anew: isthmus pki issue --cluster CLUSTER. Any watcher of the
clusterset will do to hand it to, by the address of its gossip port.

A watcher of the retired cluster that still runs stops with an error. With
--undo the cluster may come back: its watchers publish again when they start.`,
		Example: `  isthmus retire west --watcher east.example.net:7946 \
      --cert pki/west-watcher.crt --key pki/west-watcher.key --ca pki/ca.crt`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage(fmt.Errorf("retire: want the name of one cluster, got %d; see `isthmus retire -h`", len(args)))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			r.cluster = args[0]
			return r.run(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&r.watchers, "watcher", nil, "host:port of a watcher; several are tried in turn")
	f.StringVarP(&r.config, "config", "c", "", "the cluster's watcher.yaml: its certificate, and whom it joins")
	f.StringVar(&r.files.Cert, "cert", "", "certificate of the cluster's watcher")
	f.StringVar(&r.files.Key, "key", "", "its key")
	f.StringVar(&r.files.CA, "ca", "", "the clusterset's root")
	f.BoolVar(&r.undo, "undo", false, "let a retired cluster come back")
	f.BoolVar(&r.yes, "yes", false, "don't ask")
	return cmd
}

func (r *retirement) run(ctx context.Context, in io.Reader, out io.Writer) error {
	identity, err := r.prepare()
	if err != nil {
		return usage(err)
	}
	var problems []error
	for _, watcher := range r.watchers {
		m := replica.Retirement{Identity: identity, Watcher: watcher, Undo: r.undo}
		found, err := look(ctx, m)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		if found.Already {
			return r.say(out, "%s is %s already (epoch %d)\n", found.Epoch)
		}
		if err := r.confirm(in, out, found); err != nil {
			return usage(err)
		}
		return r.do(ctx, out, m)
	}
	return errors.Join(problems...)
}

func look(ctx context.Context, m replica.Retirement) (*replica.Retired, error) {
	ctx, cancel := context.WithTimeout(ctx, retireTimeout)
	defer cancel()
	return m.Look(ctx)
}

func (r *retirement) do(ctx context.Context, out io.Writer, m replica.Retirement) error {
	ctx, cancel := context.WithTimeout(ctx, retireTimeout)
	defer cancel()
	done, err := m.Do(ctx)
	if err != nil {
		return err
	}
	format := "%s is %s (epoch %d)\n"
	if r.undo {
		format = "%s is %s (epoch %d): start its watchers\n"
	}
	return r.say(out, format, done.Epoch)
}

func (r *retirement) say(out io.Writer, format string, epoch uint64) error {
	state := "retired"
	if r.undo {
		state = "free to come back"
	}
	_, err := fmt.Fprintf(out, format, r.cluster, state, epoch)
	return err
}

// prepare finds the identity and the watchers, from the flags and then from
// the configuration.
func (r *retirement) prepare() (*trust.Identity, error) {
	if err := discovery.ValidLabel(r.cluster); err != nil {
		return nil, fmt.Errorf("retire: cluster %q %w", r.cluster, err)
	}
	own := trust.ID{Cluster: r.cluster, Role: trust.Watcher}
	insecure := false
	if r.config != "" {
		c, err := config.Load(r.config)
		if err != nil {
			return nil, err
		}
		if c.Cluster != r.cluster {
			return nil, fmt.Errorf("retire: %s is the configuration of %s, not of %s", r.config, c.Cluster, r.cluster)
		}
		own.Clusterset, insecure = c.Clusterset, c.Insecure
		if r.files == (trust.Files{}) {
			r.files = trust.Files{Cert: c.TLS.Cert, Key: c.TLS.Key, CA: c.TLS.CA}
		}
		if len(r.watchers) == 0 {
			r.watchers = c.Gossip.Join
		}
	}
	if err := r.checkWatchers(); err != nil {
		return nil, err
	}
	if insecure {
		return trust.Insecure(own)
	}
	if r.files.Cert == "" || r.files.Key == "" || r.files.CA == "" {
		return nil, fmt.Errorf("retire: no certificate of %s's watcher: give --cert, --key and --ca, or -c with its watcher.yaml", r.cluster)
	}
	identity, err := trust.Load(r.files, own.Clusterset)
	if err != nil {
		return nil, err
	}
	own.Clusterset = identity.ID().Clusterset
	if identity.ID() != own {
		return nil, fmt.Errorf("retire: %s names %s, but only %s can retire %s; issue it with `isthmus pki issue --cluster %s`",
			r.files.Cert, identity.ID(), own, r.cluster, r.cluster)
	}
	return identity, nil
}

func (r *retirement) checkWatchers() error {
	if len(r.watchers) == 0 {
		return errors.New("retire: no watcher is given: add --watcher HOST:PORT, the gossip port of any other cluster")
	}
	for i, w := range r.watchers {
		if _, _, err := net.SplitHostPort(w); err != nil {
			r.watchers[i] = net.JoinHostPort(strings.Trim(w, "[]"), strconv.Itoa(config.DefaultGossipPort))
		}
	}
	return nil
}

// confirm wants the cluster's name typed by a person, and --yes from a script.
func (r *retirement) confirm(in io.Reader, out io.Writer, found *replica.Retired) error {
	if r.yes || r.undo {
		return nil
	}
	unasked := fmt.Errorf("retire: %s publishes %d services (epoch %d); add --yes to take them out of all clusters", r.cluster, found.Services, found.Epoch)
	if f, ok := in.(*os.File); !ok || !isTerminal(f) {
		return unasked
	}
	_, err := fmt.Fprintf(out, "%s (uid %s, epoch %d) publishes %d services. They will vanish from all clusters.\nType the cluster's name to go on: ",
		r.cluster, found.UID, found.Epoch, found.Services)
	if err != nil {
		return err
	}
	line, err := bufio.NewReader(in).ReadString('\n')
	if line == "" {
		return unasked
	}
	if strings.TrimSpace(line) != r.cluster {
		return fmt.Errorf("retire: %q is not %q: nothing was done", strings.TrimSpace(line), r.cluster)
	}
	return err
}

// isTerminal may take /dev/null for one, at which nobody types a name.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/discovery/export"
	"github.com/isthmus-dns/isthmus/discovery/probe"
	"github.com/isthmus-dns/isthmus/gossip/replica"
	"go.yaml.in/yaml/v3"
)

const (
	// maxFile is a hundred times the longest file that makes sense, and what
	// a ConfigMap holds.
	maxFile = 1 << 20
	// maxJoin: some of these must answer; gossip finds the others.
	maxJoin = 1024
	// maxZones: each host of a ServiceEntry is compared with each.
	maxZones = 16
	// maxSiblings: a cluster has two or three watchers, and a name may stand
	// for all.
	maxSiblings = 16
	// maxForget of a year: who wants to forget nobody means that.
	maxForget = 365 * 24 * time.Hour
)

// Load reads a file. Mistakes in it come as [Problems].
func Load(file string) (*Config, error) {
	text, err := Read(file)
	if err != nil {
		return nil, err
	}
	return Parse(file, text)
}

// Read reads a file's text, somewhat more than [Parse] takes at most. That it
// can't be read comes as [Problems].
func Read(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, notReadable(file, err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, notReadable(file, err)
	}
	return text, nil
}

func notReadable(file string, err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	return Problems{{File: file, Text: fmt.Sprintf("cannot be read: %v: give a file with -c", err)}}
}

// Parse reads the text of a file; the name is for messages, and its folder is
// where relative file names start. Mistakes come as [Problems].
func Parse(file string, text []byte) (*Config, error) {
	d := &decoder{file: file, lines: map[string]int{}, broken: map[string]bool{}}
	root := d.document(text)
	if len(d.problems) > 0 {
		return nil, d.problems
	}
	c := &Config{
		Source: Source{Export: ExportDeclared},
		Gossip: Gossip{Listen: DefaultListen},
		State:  DefaultState,
		HTTP:   DefaultHTTP,
		Forget: replica.DefaultForget,
		Health: probe.DefaultHealth(),
		file:   file,
		lines:  d.lines,
	}
	d.root(c, root)
	c.entries = entriesOf(c.Gateways)
	d.validate(c, root)
	if len(d.problems) > 0 {
		return nil, d.problems.sorted()
	}
	return c, nil
}

// document parses YAML and wants exactly one document.
func (d *decoder) document(text []byte) *yaml.Node {
	if len(text) > maxFile {
		d.add(nil, "is larger than %d octets: give the watcher's own file", maxFile)
		return nil
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var doc, second yaml.Node
	if err := decoder.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			d.add(nil, "is empty: give at least clusterset, cluster, source and tls")
			return nil
		}
		d.problems = append(d.problems, syntax(d.file, err))
		return nil
	}
	switch err := decoder.Decode(&second); {
	case err == nil:
		d.add(&second, "a second document begins here: give one")
		return nil
	case !errors.Is(err, io.EOF):
		d.problems = append(d.problems, syntax(d.file, err))
		return nil
	}
	return doc.Content[0]
}

var yamlLine = regexp.MustCompile(`^line ([0-9]+): `)

// fromZero are the errors whose lines the YAML library counts from 0: those of
// its parser, where those of its scanner count from 1.
var fromZero = regexp.MustCompile("^(did not find expected (<|key|node content|'-' indicator|',' or)|found undefined tag handle|" +
	"found duplicate|found incompatible)")

// syntax turns the library's "yaml: line 3: text" into a problem.
func syntax(file string, err error) Problem {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 0
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		line, _ = strconv.Atoi(m[1])
		text = text[len(m[0]):]
	}
	if line == 0 || fromZero.MatchString(text) {
		line++
	}
	return Problem{File: file, Line: line, Text: oneLine("not YAML: " + text)}
}

func (d *decoder) root(c *Config, n *yaml.Node) {
	d.object(n, "",
		field{"clusterset", d.text(&c.Clusterset, validClusterset)},
		field{"cluster", d.text(&c.Cluster, validCluster)},
		field{"network", d.text(&c.Network, validNetwork)},
		field{"locality", d.locality(&c.Locality)},
		field{"source", func(n *yaml.Node, path string) { d.source(&c.Source, n, path) }},
		field{"gateways", func(n *yaml.Node, path string) {
			d.list(n, path, discovery.MaxGateways, func(n *yaml.Node, path string) { d.gateway(c, n, path) })
		}},
		field{"gossip", func(n *yaml.Node, path string) { d.gossip(&c.Gossip, n, path) }},
		field{"tls", func(n *yaml.Node, path string) {
			d.object(n, path, field{"cert", d.path(&c.TLS.Cert)}, field{"key", d.path(&c.TLS.Key)}, field{"ca", d.path(&c.TLS.CA)})
		}},
		field{"insecure", d.flag(&c.Insecure)},
		field{"import", func(n *yaml.Node, path string) { d.imports(&c.Import, n, path) }},
		field{"forget", d.duration(replica.MinForget, maxForget, &c.Forget)},
		field{"routing", func(n *yaml.Node, path string) { d.routing(&c.Routing, n, path) }},
		field{"health", func(n *yaml.Node, path string) { d.health(&c.Health, n, path) }},
		field{"state", d.path(&c.State)},
		field{"http", d.hostPort(0, true, func(s string) { c.HTTP = s })},
	)
}

func (d *decoder) source(s *Source, n *yaml.Node, path string) {
	d.object(n, path,
		field{"kubernetes", func(n *yaml.Node, path string) {
			s.Kubernetes = &KubernetesSource{}
			d.object(n, path,
				field{"kubeconfig", d.path(&s.Kubernetes.Kubeconfig)},
				field{"context", d.text(&s.Kubernetes.Context, notEmpty)},
				field{"namespace", d.text(&s.Kubernetes.Namespace, discovery.ValidLabel)},
				field{"zones", func(n *yaml.Node, path string) { d.list(n, path, maxZones, d.zone(&s.Kubernetes.Zones)) }},
			)
		}},
		field{"manifests", func(n *yaml.Node, path string) {
			s.Manifests = &ManifestSource{}
			d.object(n, path, field{"dir", d.path(&s.Manifests.Dir)})
		}},
		field{"export", d.choice([]string{string(ExportDeclared), string(ExportAll)}, func(w string) { s.Export = Export(w) })},
		field{"nodes", d.choice([]string{"external", "internal"}, func(w string) {
			s.Nodes = map[string]string{"external": export.AddressesExternal, "internal": export.AddressesInternal}[w]
		})},
	)
}

func (d *decoder) gossip(g *Gossip, n *yaml.Node, path string) {
	d.object(n, path,
		field{"listen", d.hostPort(DefaultGossipPort, true, func(s string) { g.Listen = s })},
		field{"advertise", d.hostPort(DefaultGossipPort, false, func(s string) { g.Advertise = s })},
		field{"join", func(n *yaml.Node, path string) {
			d.list(n, path, maxJoin, d.hostPort(DefaultGossipPort, false, func(s string) { g.Join = append(g.Join, s) }))
		}},
		field{"siblings", func(n *yaml.Node, path string) {
			d.list(n, path, maxSiblings, d.hostPort(DefaultGossipPort, false, func(s string) { g.Siblings = append(g.Siblings, s) }))
		}},
	)
}

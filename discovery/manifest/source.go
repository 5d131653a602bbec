package manifest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/discovery/export"
)

// Config says what to read and what to make of it.
type Config struct {
	// Dir is the directory of manifests. It may be a link, and may be
	// replaced while the source runs.
	Dir string
	// Cluster makes the cluster's own record; nodes are ordered by name. It is
	// called from Run, at the start, when a node changed and after Refresh, and
	// gives its result away.
	Cluster func(nodes []*corev1.Node) *discovery.Cluster
	// Gateways are the entries of the cluster's gateway sets; the record's
	// GatewaySets are what they come to. Nil leaves the record's own. Ingresses
	// and Gateways are not read from files, so only Services can be named.
	Gateways func() []export.SetEntry
	Options  export.Options
	// Keep is a folder for copies of the manifests as they were last good, so
	// that a file that is broken when the source starts, and a directory that
	// is empty then, take nothing away. It is made when it is needed. Empty:
	// what was good is known from this process only.
	Keep   string
	Logger *slog.Logger
	// Registerer may be nil: then nothing is counted.
	Registerer prometheus.Registerer
}

// Source turns a directory into updates.
type Source struct {
	dir      string
	keep     string
	cluster  func(nodes []*corev1.Node) *discovery.Cluster
	gateways func() []export.SetEntry
	options  export.Options
	log      *slog.Logger
	metrics  *metrics
	// rescanEvery is the safety net below file events, which network file
	// systems don't deliver.
	rescanEvery time.Duration
	refresh     chan struct{} // capacity 1
}

// New checks that the directory exists and can be listed. It starts nothing.
func New(c Config) (*Source, error) {
	if c.Cluster == nil {
		return nil, errors.New("manifest source: Config.Cluster is missing")
	}
	// The working directory may change; the watch's names must not.
	dir, err := filepath.Abs(c.Dir)
	if err != nil || c.Dir == "" {
		return nil, errors.Join(errors.New("manifest source: Config.Dir is missing"), err)
	}
	if err := checkDir(dir); err != nil {
		return nil, err
	}
	keep := c.Keep
	if keep != "" {
		if keep, err = filepath.Abs(keep); err != nil {
			return nil, fmt.Errorf("manifest source: Config.Keep: %w", err)
		}
	}
	m, err := newMetrics(c.Registerer)
	if err != nil {
		return nil, err
	}
	log := c.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Source{
		dir: dir, keep: keep, cluster: c.Cluster, gateways: c.Gateways, options: c.Options,
		log: log.With("dir", dir), metrics: m, rescanEvery: 30 * time.Second, refresh: make(chan struct{}, 1),
	}, nil
}

// Run reads the directory, emits the whole part, and from then on what
// changes, until the context ends; then it returns nil. emit is called from
// this goroutine only; while it blocks, changes gather. A directory that is
// lost or broken ends nothing: the last state stays.
//
// Run may be called once at a time; each call starts from the files.
func (s *Source) Run(ctx context.Context, emit func(discovery.Update)) error {
	r := s.newRun(emit)
	defer r.unwatch()
	return r.loop(ctx)
}

// Refresh has the cluster's own record made anew, because what Config.Cluster
// makes it of has changed. It doesn't wait.
func (s *Source) Refresh() {
	select {
	case s.refresh <- struct{}{}:
	default:
	}
}

func (s *Source) newRun(emit func(discovery.Update)) *run {
	return &run{
		Source: s,
		files:  newFiles(s.dir, s.keep, s.log, s.metrics),
		part: &part{
			cluster: s.cluster, gateways: s.gateways, options: s.options, log: s.log,
			emitted: map[discovery.Key]fingerprint{}, notes: map[discovery.Key]string{},
		},
		settler: newSettler(),
		emit:    emit,
	}
}

// Load reads a directory once and reports what is wrong in it, ordered by file
// and line: what can't be read or parsed, and objects that stand there twice.
// An error means that the directory itself can't be read.
func Load(dir string) ([]Problem, error) {
	if err := checkDir(dir); err != nil {
		return nil, err
	}
	f := newFiles(dir, "", slog.New(slog.DiscardHandler), nil)
	found, err := listDir(dir)
	if err != nil {
		return nil, err
	}
	var problems []Problem
	for name := range found {
		for _, p := range f.load(name) {
			// Duplicates are looked for when all files are known.
			if known := f.byName[name]; known != nil && known.broken {
				problems = append(problems, p)
			}
		}
	}
	for name, objects := range f.inv.byFile {
		for _, p := range f.inv.duplicates(objects) {
			if p.File == name {
				problems = append(problems, p)
			}
		}
	}
	sortProblems(problems)
	return problems, nil
}

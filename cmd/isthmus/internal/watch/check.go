package watch

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/isthmus-dns/isthmus/cmd/isthmus/internal/config"
	"github.com/isthmus-dns/isthmus/discovery/kube"
	"github.com/isthmus-dns/isthmus/discovery/manifest"
)

// Check looks at the files that a configuration names, without taking a port,
// writing anything or asking anybody. The error has one line a problem.
func Check(c *config.Config) error {
	problems := []error{advertised(c), publishable(c)}
	id, err := identity(c)
	switch {
	case err != nil:
		problems = append(problems, err)
	case !c.Insecure && time.Now().After(id.NotAfter()):
		problems = append(problems, c.Problem("tls.cert", "%s ended on %s; issue it anew with `isthmus pki issue`",
			c.TLS.Cert, id.NotAfter().Format(time.DateOnly)))
	}
	if m := c.Source.Manifests; m != nil {
		found, err := manifestProblems(m.Dir)
		if err != nil {
			err = c.Problem("source.manifests.dir", "%v", err)
		}
		problems = append(problems, found, err)
	}
	// Without a kubeconfig it is the Pod's account, and we may be elsewhere.
	if k := c.Source.Kubernetes; k != nil && k.Kubeconfig != "" {
		if _, err := kube.Connect(k.Kubeconfig, k.Context); err != nil {
			problems = append(problems, c.Problem("source.kubernetes.kubeconfig", "%v", err))
		}
	}
	return errors.Join(problems...)
}

// CheckManifests reads a folder of manifests once. The error has one line a
// problem.
func CheckManifests(dir string) error {
	found, err := manifestProblems(dir)
	if err != nil {
		return fmt.Errorf("%w; name a folder of manifests", err)
	}
	return found
}

// manifestProblems are what is wrong in a folder, one line each; err means
// that the folder itself can't be read.
func manifestProblems(dir string) (found, err error) {
	list, err := manifest.Load(dir)
	if err != nil {
		return nil, err
	}
	var problems []error
	for _, p := range list {
		p.File = filepath.Join(dir, p.File)
		problems = append(problems, errors.New(p.String()))
	}
	return errors.Join(problems...), nil
}

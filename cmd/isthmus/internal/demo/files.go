package demo

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/isthmus-dns/isthmus/gossip/trust"
)

//go:embed manifests
var manifests embed.FS

// clusterset is the demo's name and trust domain.
const clusterset = "demo"

// certificateLife is long enough to come back to a demo folder.
const certificateLife = 365 * 24 * time.Hour

// prepare writes what is missing below dir. What is there stays: it is the
// user's, who may have changed it.
func prepare(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("demo folder: %w; choose another with --dir", err)
	}
	if err := writePKI(filepath.Join(dir, "pki")); err != nil {
		return err
	}
	var corefile strings.Builder
	for _, c := range clusters {
		if err := writeManifests(dir, c.name); err != nil {
			return err
		}
		if err := writeOnce(configFile(dir, c), watcherYAML(c)); err != nil {
			return err
		}
		fmt.Fprintf(&corefile, corefileBlock, c.name, c.dns, c.gossip)
	}
	return writeOnce(corefilePath(dir), corefile.String())
}

func configFile(dir string, c cluster) string { return filepath.Join(dir, c.name+"-watcher.yaml") }

func corefilePath(dir string) string { return filepath.Join(dir, "Corefile") }

// watcherYAML is a cluster's configuration, as short as can be.
func watcherYAML(c cluster) string {
	var join []string
	for _, other := range clusters {
		if other.name != c.name {
			join = append(join, fmt.Sprintf("127.0.0.1:%d", other.gossip))
		}
	}
	return fmt.Sprintf(`clusterset: %[1]s
cluster: %[2]s
source:
  manifests: {dir: %[2]s}
gateways:
  - name: default
    addresses: [%[3]s]
    port: 8080
gossip: {listen: 127.0.0.1:%[4]d, advertise: 127.0.0.1:%[4]d, join: [%[5]s]}
tls: {cert: pki/%[2]s-watcher.crt, key: pki/%[2]s-watcher.key, ca: pki/ca.crt}
state: state/%[2]s
http: 127.0.0.1:%[6]d
`, clusterset, c.name, c.gateway(), c.gossip, strings.Join(join, ", "), c.http)
}

// corefileBlock is one cluster's agent. Names of files are relative to the
// working directory, which is the demo's folder.
const corefileBlock = `# the agent of %[1]s
global:%[2]d {
    bind 127.0.0.1
    bufsize 1232
    errors
    isthmus {
        watcher 127.0.0.1:%[3]d
        tls pki/%[1]s-agent.crt pki/%[1]s-agent.key pki/ca.crt
        snapshot state/%[1]s-agent
    }
}
`

// writeManifests copies a cluster's manifests if its folder is not there.
func writeManifests(dir, name string) error {
	into := filepath.Join(dir, name)
	if _, err := os.Stat(into); err == nil {
		return nil
	}
	if err := os.MkdirAll(into, 0o755); err != nil {
		return err
	}
	from := "manifests/" + name
	entries, err := manifests.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		data, err := manifests.ReadFile(from + "/" + e.Name())
		if err != nil {
			return err
		}
		if err := writeOnce(filepath.Join(into, e.Name()), string(data)); err != nil {
			return err
		}
	}
	return nil
}

// writePKI makes a root and the certificates of all clusters, beside the place
// where they will be: an interrupted start leaves no half of them.
func writePKI(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	fresh := dir + ".new"
	if err := errors.Join(os.RemoveAll(fresh), os.MkdirAll(fresh, 0o700)); err != nil {
		return err
	}
	if err := fillPKI(fresh); err != nil {
		return err
	}
	return os.Rename(fresh, dir)
}

func fillPKI(dir string) error {
	authority, err := trust.NewAuthority(clusterset)
	if err != nil {
		return err
	}
	if err := writeOnce(filepath.Join(dir, "ca.crt"), string(authority.CertPEM())); err != nil {
		return err
	}
	for _, c := range clusters {
		for _, role := range []trust.Role{trust.Watcher, trust.Agent} {
			cert, key, err := authority.Issue(trust.ID{Clusterset: clusterset, Cluster: c.name, Role: role}, certificateLife)
			if err != nil {
				return err
			}
			base := filepath.Join(dir, c.name+"-"+string(role))
			if err := errors.Join(writeOnce(base+".crt", string(cert)), writeOnce(base+".key", string(key))); err != nil {
				return err
			}
		}
	}
	return nil
}

// writeOnce creates a file, readable by its owner only: keys are among them.
func writeOnce(path, text string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := f.WriteString(text); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

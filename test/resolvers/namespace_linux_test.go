package resolvers

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// resolvConf is what kubelet writes into a Pod of the namespace default, but
// for the address of the name server.
const resolvConf = `nameserver 127.0.0.1
search default.svc.cluster.local svc.cluster.local cluster.local
options ndots:5
`

// nsswitchConf keeps what a desktop has besides out of the C library's way.
const nsswitchConf = "hosts: files dns\n"

// furnish puts a Pod's files into the place of this namespace's.
func furnish() error {
	dir, err := os.MkdirTemp("", "isthmus-etc-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) // the mounts hold the files
	for name, text := range map[string]string{"resolv.conf": resolvConf, "nsswitch.conf": nsswitchConf} {
		if err := cover(filepath.Join("/etc", name), filepath.Join(dir, name), text); err != nil {
			return err
		}
	}
	return nil
}

// cover puts a text in the place of a file that is there.
func cover(file, with, text string) error {
	if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) && file != "/etc/resolv.conf" {
		return nil
	}
	if err := os.WriteFile(with, []byte(text), 0o644); err != nil {
		return err
	}
	if err := syscall.Mount(with, file, "", syscall.MS_BIND, ""); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}

package dns

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/coredns/caddy"
	"github.com/coredns/caddy/caddyfile"
	"github.com/coredns/coredns/core/dnsserver"

	"github.com/isthmus-dns/isthmus/plugin/isthmus"
)

const (
	serverType = "dns"
	// maxCorefile is far beyond any Corefile, and what a ConfigMap holds.
	maxCorefile = 1 << 20
)

// CorefileError is a mistake in a Corefile, or something in its surroundings
// that keeps it from being served, such as a port that is taken. Its text is
// one line.
type CorefileError struct {
	File string
	Line int // from 1; 0 when it is not known
	Text string
}

// Error is "file:line: text".
func (e *CorefileError) Error() string {
	if e.Line == 0 {
		return e.File + ": " + e.Text
	}
	return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Text)
}

// stdin is the standard input: a check, a start and each reload read it, and it
// can be read but once.
var stdin = sync.OnceValues(func() ([]byte, error) { return readBounded(os.Stdin) })

func readBounded(r io.Reader) ([]byte, error) { return io.ReadAll(io.LimitReader(r, maxCorefile+1)) }

func readText(file string) ([]byte, error) {
	if file == "stdin" {
		return stdin()
	}
	f, err := os.Open(filepath.Clean(file))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readBounded(f)
}

// read loads a Corefile; "stdin" is the standard input, as with CoreDNS.
func read(file string) (caddy.CaddyfileInput, error) {
	input := caddy.CaddyfileInput{Filepath: file, ServerTypeName: serverType}
	text, err := readText(file)
	if err != nil {
		return input, unreadable(file, err)
	}
	if len(text) > maxCorefile {
		return input, &CorefileError{File: file, Text: fmt.Sprintf("is larger than %d octets: give a Corefile with -conf", maxCorefile)}
	}
	input.Contents = text
	return input, nil
}

func unreadable(file string, err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	return &CorefileError{File: file, Text: fmt.Sprintf("cannot be read: %v: give a Corefile with -conf", err)}
}

// blocks groups a Corefile's text by server block. It refuses an empty one,
// which CoreDNS would answer with a server nobody asked for, and one that
// serves a zone twice.
func blocks(input caddy.Input) ([]caddyfile.ServerBlock, error) {
	list, err := caddyfile.Parse(input.Path(), bytes.NewReader(input.Body()), dnsserver.Directives)
	if err != nil {
		return nil, locate(input, err)
	}
	if len(list) == 0 {
		return nil, &CorefileError{File: input.Path(), Text: "holds no server block: write one, as in global:53 { isthmus }"}
	}
	return list, overlap(input, list)
}

// Check parses a Corefile and sets its plugins up without starting any, nor
// listening. The remarks are what a start would warn of, each
// "FILE:LINE: TEXT".
func Check(file string) (remarks []string, err error) {
	input, err := read(file)
	if err != nil {
		return nil, err
	}
	return check(input)
}

func check(input caddy.Input) ([]string, error) {
	if _, err := blocks(input); err != nil {
		return nil, err
	}
	remarks, err := isthmus.Check(input)
	if err != nil {
		return nil, locate(input, err)
	}
	return remarks, nil
}

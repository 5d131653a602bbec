package dns

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/coredns/caddy"
	"github.com/coredns/caddy/caddyfile"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/isthmus-dns/isthmus/cmd/isthmus/internal/suggest"
)

var (
	// parseError is how caddyfile reports: "FILE:LINE - Error during
	// parsing: TEXT", with "plugin/NAME: " before it if a plugin reports.
	parseError = regexp.MustCompile(`^(?:plugin/([a-z0-9_]+): )*(.*?):([0-9]+) - (?:Error during parsing: |Parse error: |Syntax error: )?(.*)$`)
	// pluginError is a plugin's that gives no line.
	pluginError = regexp.MustCompile(`^(?:plugin/([a-z0-9_]+): )+(.*)$`)
	unknownName = regexp.MustCompile(`^Unknown directive '(.*)'$`)
	// endsEarly is how caddyfile says that no closing brace came.
	endsEarly = regexp.MustCompile(`^(Unexpected EOF|Unexpected token '.*', expecting '\}')$`)
	// listenError is the net package's, through Caddy's "Listen: ".
	listenError = regexp.MustCompile(`listen (tcp|udp)[46]? (\S+): (?:bind: |socket: )?(.*)$`)
)

// locate turns an error of CoreDNS into one that names file, line and fix.
func locate(input caddy.Input, err error) error {
	text := strings.Join(strings.Fields(err.Error()), " ")
	at := &CorefileError{File: input.Path(), Text: text}
	if m := parseError.FindStringSubmatch(text); m != nil {
		at.File = m[2]
		at.Line, _ = strconv.Atoi(m[3])
		at.Text = m[4]
		if m[1] != "" {
			at.Text = "plugin " + m[1] + ": " + m[4]
		}
		if u := unknownName.FindStringSubmatch(m[4]); u != nil {
			at.Text = unknownDirective(u[1])
		}
		if endsEarly.MatchString(m[4]) {
			at.Text += ": the file ends inside a block, a } is missing"
		}
		return at
	}
	if m := listenError.FindStringSubmatch(text); m != nil {
		return busy(input, listen{network: m[1], address: m[2]}, m[3])
	}
	if m := pluginError.FindStringSubmatch(text); m != nil {
		at.Text = "plugin " + m[1] + ": " + m[2]
		at.Line = onlyLine(input, m[1])
	}
	return at
}

func unknownDirective(name string) string {
	if slices.Contains(stock, name) {
		return fmt.Sprintf("plugin %q is CoreDNS's but not in isthmus: see isthmus dns -plugins for what is", name)
	}
	if near := suggest.Nearest(name, dnsserver.Directives); near != "" {
		return fmt.Sprintf("unknown plugin %q: did you mean %q?", name, near)
	}
	return fmt.Sprintf("unknown plugin %q: see isthmus dns -plugins for what there is", name)
}

// busy is an address that can't be listened on, with the line that asks for
// it.
func busy(input caddy.Input, where listen, why string) error {
	fix := "give another address"
	switch why {
	case "address already in use":
		fix = "stop what listens there or give another port"
	case "permission denied":
		fix = "ports below 1024 need root or CAP_NET_BIND_SERVICE; give another port"
	case "cannot assign requested address":
		fix = "bind to an address of this machine"
	}
	if where.line == 0 {
		where.line = portLine(input, where.address)
	}
	return &CorefileError{
		File: input.Path(), Line: where.line,
		Text: fmt.Sprintf("cannot listen on %s %s: %s: %s", where.network, where.address, why, fix),
	}
}

// portLine finds the line whose word ends in the address's port: a server
// block's name or a plugin's address. When none does, it is the default port
// of the first server block.
func portLine(input caddy.Input, address string) int {
	port := address[strings.LastIndexByte(address, ':')+1:]
	first := 0
	words := caddyfile.NewDispenser(input.Path(), bytes.NewReader(input.Body()))
	for words.Next() {
		if first == 0 {
			first = words.Line()
		}
		if strings.HasSuffix(strings.TrimSuffix(words.Val(), ","), ":"+port) {
			return words.Line()
		}
	}
	if port == dnsserver.Port {
		return first
	}
	return 0
}

// onlyLine is the line of a plugin's stanza if there is but one; 0 otherwise.
func onlyLine(input caddy.Input, plugin string) int {
	if plugin == "metrics" {
		plugin = "prometheus" // its directive
	}
	list, err := blocks(input)
	if err != nil {
		return 0
	}
	line := 0
	for _, b := range list {
		for _, token := range b.Tokens[plugin] {
			if token.Text != plugin || token.Line == line {
				continue
			}
			if line != 0 {
				return 0
			}
			line = token.Line
		}
	}
	return line
}

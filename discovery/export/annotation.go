package export

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/isthmus-dns/isthmus/discovery"
)

// The annotations of a Service.
const (
	// AnnotationExport: "true" exports, "false" opts out.
	AnnotationExport = "isthmus.dev/export"
	// AnnotationGateway: "set:NAME", or addresses and host names, each
	// optionally with a port: "192.0.2.1:443, [2001:db8::1]:443".
	AnnotationGateway = "isthmus.dev/gateway"
	// AnnotationWeight: 1 to discovery.MaxWeight, relative to other clusters.
	AnnotationWeight = "isthmus.dev/weight"
	// AnnotationAliases: host names, comma separated.
	AnnotationAliases = "isthmus.dev/aliases"
	// AnnotationCheck: how endpoints are checked that no kubelet checks, as
	// TYPE[:PORT][/PATH]: "tcp", "tls:443", "http:8080/healthz", "https:web/".
	AnnotationCheck = "isthmus.dev/check"
)

// weight is 0 ("not set") when the annotation is missing or wrong.
func (b *builder) weight() uint32 {
	text, set := b.Service.Annotations[AnnotationWeight]
	if !set {
		return 0
	}
	n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 32)
	if err != nil || n < 1 || n > discovery.MaxWeight {
		b.problem("annotation %s: %q is not a number from 1 to %d", AnnotationWeight, clip(text), discovery.MaxWeight)
		return 0
	}
	return uint32(n)
}

// aliases are the valid ones, sorted, each once.
func (b *builder) aliases() []string {
	var out []string
	for _, text := range list(b.Service.Annotations[AnnotationAliases]) {
		host, err := parseHost(text)
		if err != nil {
			b.problem("annotation %s: %v", AnnotationAliases, err)
			continue
		}
		out = append(out, host)
	}
	slices.Sort(out)
	out = slices.Compact(out)
	if len(out) > discovery.MaxAliases {
		b.problem("annotation %s: only the first %d of %d hosts are used", AnnotationAliases, discovery.MaxAliases, len(out))
		out = slices.Clip(out[:discovery.MaxAliases])
	}
	return out
}

// list splits at commas and drops empty elements, so that a trailing comma
// or a folded YAML string does no harm.
func list(text string) []string {
	var out []string
	for element := range strings.SplitSeq(text, ",") {
		if element = strings.TrimSpace(element); element != "" {
			out = append(out, element)
		}
	}
	return out
}

// maxProblems keeps one Service from filling the log: who has this many
// mistakes mends them in several rounds.
const maxProblems = 12

// problem notes something the user should know, each thing once.
func (b *builder) problem(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); len(b.problems) < maxProblems && !slices.Contains(b.problems, text) {
		b.problems = append(b.problems, text)
	}
}

// clip keeps text from annotations short in problems.
func clip(s string) string {
	const enough = 80
	if len(s) > enough {
		return strings.ToValidUTF8(s[:enough], "") + "…"
	}
	return s
}

package transport

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/isthmus-dns/isthmus/gossip"
)

// The hello, which the dialer sends first:
//
//	"isth" | version | kind | instance, 8 | len(from) | len(to) | from | to
//
// and the answer:
//
//	"isth" | version | code | len(name) | len(reason) | name | reason
//
// All lengths take one octet.
const (
	magic        = "isth" // no HTTP/2 preface ("PRI ") and no TLS record begins so
	helloVersion = 1

	maxName   = 127 // two DNS labels and a dot
	maxReason = 255
)

// kind is what a connection is for.
type kind byte

const (
	kindPackets kind = 1
	kindStream  kind = 2
	kindAsk     kind = 3 // who is there? The answer is all
)

func (k kind) String() string {
	switch k {
	case kindPackets:
		return "packets"
	case kindStream:
		return "stream"
	case kindAsk:
		return "ask"
	}
	return fmt.Sprintf("kind %d", byte(k))
}

// code is the answer in short.
type code byte

const (
	codeOK      code = 0
	codeRefused code = 1
	codeSelf    code = 2 // the dialer has dialed itself
)

var errHello = errors.New("hello is malformed")

// hello says who calls whom and why.
type hello struct {
	kind     kind
	instance [8]byte // random for each process: tells oneself from a namesake
	from     string
	to       string // "" when only an address is known
}

func (h hello) encode() []byte {
	b := append([]byte(magic), helloVersion, byte(h.kind))
	b = append(b, h.instance[:]...)
	b = append(b, byte(len(h.from)), byte(len(h.to)))
	b = append(b, h.from...)
	return append(b, h.to...)
}

// readHello reads not an octet more than the hello.
func readHello(r io.Reader) (hello, error) {
	var head [len(magic) + 2 + 8 + 2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return hello{}, err
	}
	if string(head[:4]) != magic {
		return hello{}, fmt.Errorf("%w: it does not begin with %q", errHello, magic)
	}
	if head[4] != helloVersion {
		return hello{}, fmt.Errorf("%w: version %d, want %d", errHello, head[4], helloVersion)
	}
	h := hello{kind: kind(head[5]), instance: [8]byte(head[6:14])}
	if h.kind < kindPackets || h.kind > kindAsk {
		return hello{}, fmt.Errorf("%w: unknown %s", errHello, h.kind)
	}
	from, to := int(head[14]), int(head[15])
	if from > maxName || to > maxName {
		return hello{}, fmt.Errorf("%w: name longer than %d octets", errHello, maxName)
	}
	names := make([]byte, from+to)
	if _, err := io.ReadFull(r, names); err != nil {
		return hello{}, err
	}
	h.from, h.to = string(names[:from]), string(names[from:])
	if _, _, err := gossip.SplitName(h.from); err != nil {
		return hello{}, fmt.Errorf("%w: %w", errHello, err)
	}
	if h.to != "" {
		if _, _, err := gossip.SplitName(h.to); err != nil {
			return hello{}, fmt.Errorf("%w: %w", errHello, err)
		}
	}
	return h, nil
}

// answer is what the hello is answered with.
type answer struct {
	code   code
	name   string // who answers
	reason string // why not
}

func (a answer) encode() []byte {
	reason := a.reason[:min(len(a.reason), maxReason)]
	b := append([]byte(magic), helloVersion, byte(a.code), byte(len(a.name)), byte(len(reason)))
	b = append(b, a.name...)
	return append(b, reason...)
}

// readAnswer reads not an octet more than the answer.
func readAnswer(r io.Reader) (answer, error) {
	var head [len(magic) + 4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return answer{}, err
	}
	if string(head[:4]) != magic {
		return answer{}, fmt.Errorf("%w: answer does not begin with %q", errHello, magic)
	}
	name := int(head[6])
	if name > maxName {
		return answer{}, fmt.Errorf("%w: name longer than %d octets", errHello, maxName)
	}
	text := make([]byte, name+int(head[7]))
	if _, err := io.ReadFull(r, text); err != nil {
		return answer{}, err
	}
	a := answer{code: code(head[5]), name: string(text[:name]), reason: strings.ToValidUTF8(string(text[name:]), "�")}
	if _, _, err := gossip.SplitName(a.name); err != nil {
		return answer{}, fmt.Errorf("%w: %w", errHello, err)
	}
	if head[4] != helloVersion && a.code == codeOK {
		return answer{}, fmt.Errorf("%w: answer of version %d, want %d", errHello, head[4], helloVersion)
	}
	return a, nil
}

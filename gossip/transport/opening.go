package transport

import (
	"fmt"
	"io"
)

// handedOn is what a watcher sends before the octets of a connection that it
// hands on to a sibling, so that this one does not hand it on again, however
// wrong both are about each other. It is no secret: whoever sends it gets less
// than who does not. No TLS record, no hello and no HTTP/2 preface begins so.
const handedOn = "isp1"

// maxOpening bounds what is kept of a connection until it is known whom it is
// for: a TLS record (RFC 8446 section 5.1) with its header. Our own clients'
// ClientHello takes a tenth of it.
const maxOpening = 16<<10 + 5

// opening is an accepted connection whose first octets are kept until it is
// known who shall read them: we, or a sibling.
type opening struct {
	*conn
	ahead   []byte // to be read before the connection's own octets
	kept    []byte // all that was read
	keeping bool
	mute    bool // what crypto/tls writes is for nobody
	handed  bool // by a sibling
}

// begin reads the first four octets, which tell what follows, and leaves them
// to be read again.
func (o *opening) begin() (head string, err error) {
	b := make([]byte, 4)
	if _, err := io.ReadFull(o.conn, b); err != nil {
		return "", err
	}
	if string(b) == handedOn {
		o.handed = true
		if _, err := io.ReadFull(o.conn, b); err != nil {
			return "", err
		}
	}
	o.ahead, o.keeping = b, true
	return string(b), nil
}

func (o *opening) Read(p []byte) (n int, err error) {
	if len(o.ahead) > 0 {
		n = copy(p, o.ahead)
		o.ahead = o.ahead[n:]
	} else {
		n, err = o.conn.Read(p)
	}
	if o.keeping {
		if len(o.kept)+n > maxOpening {
			return 0, refused(refusedProtocol, "connection begins with more than %d octets that say not whom it is for", maxOpening)
		}
		o.kept = append(o.kept, p[:n]...)
	}
	return n, err
}

func (o *opening) Write(p []byte) (int, error) {
	if o.mute {
		return len(p), nil
	}
	return o.conn.Write(p)
}

// ours ends the keeping: whoever reads goes on.
func (o *opening) ours() { o.kept, o.keeping = nil, false }

// again ends the keeping and has all that was kept read once more.
func (o *opening) again() {
	o.ahead = append(o.kept, o.ahead...)
	o.ours()
}

// handOn writes the mark and what was kept to a sibling's connection.
func (o *opening) handOn(to io.Writer) error {
	_, err := to.Write(append([]byte(handedOn), o.kept...))
	if err != nil {
		return fmt.Errorf("first octets: %w", err)
	}
	o.mute = true
	o.ours()
	return nil
}

package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
)

// outcome is how a check ended, as metrics tell it.
type outcome uint8

const (
	good        outcome = iota
	refused             // nobody listens
	timedOut            // no answer in time
	unreachable         // the network says that there is no way
	reset               // the connection ended in the middle
	badTLS              // an answer that is no TLS, or a certificate that doesn't hold
	badProtocol         // an answer that is no HTTP
	badStatus           // an HTTP status outside 200 to 399
	// ours says nothing of the target: we lack descriptors, ports or a route,
	// or stood still for so long that time passed unused.
	ours
	outcomes // how many there are
)

var outcomeNames = [outcomes]string{
	"good", "refused", "timeout", "unreachable", "reset", "tls", "protocol", "status", "ours",
}

// failure names an error without addresses and ports: a text that differs with
// each check would be news each time.
func failure(err error, phase string) result {
	var errno syscall.Errno
	_ = errors.As(err, &errno)
	said := func(o outcome, detail string) result { return result{outcome: o, detail: phase + ": " + detail} }
	switch {
	case isTimeout(err):
		return said(timedOut, "timed out")
	case errno == syscall.ECONNREFUSED:
		return said(refused, "connection refused")
	case errno == syscall.ECONNRESET || errno == syscall.EPIPE || errno == syscall.ECONNABORTED:
		return said(reset, "connection reset")
	case errors.Is(err, errNoRoute):
		return said(ours, errNoRoute.Error())
	case isOurs(errno):
		return said(ours, errno.Error())
	case errno != 0:
		return said(unreachable, errno.Error())
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed):
		return said(reset, "connection closed")
	case phase == "tls":
		return said(badTLS, tlsDetail(err))
	case errors.Is(err, errTooMuch):
		return said(badProtocol, errTooMuch.Error())
	case phase == "http":
		return said(badProtocol, "malformed response") // its text quotes the peer
	}
	return said(unreachable, "no connection")
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, syscall.ETIMEDOUT) || errors.As(err, &n) && n.Timeout()
}

// isOurs tells errors of connect that are about this machine. EACCES is not
// among them where there is a route: it is what a router's "administratively
// prohibited" comes as over IPv6.
func isOurs(errno syscall.Errno) bool {
	switch errno {
	case syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL,
		syscall.EAFNOSUPPORT, syscall.EPERM:
		return true
	}
	return false
}

// tlsDetail says what is wrong with a peer in words of ours: its certificate's
// are not repeated.
func tlsDetail(err error) string {
	var (
		authority x509.UnknownAuthorityError
		name      x509.HostnameError
		invalid   x509.CertificateInvalidError
		alert     tls.AlertError
		record    tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &authority):
		return "certificate of an unknown authority"
	case errors.As(err, &name):
		return "certificate for another name"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "certificate expired or not yet valid"
	case errors.As(err, &invalid):
		return "certificate not valid"
	case errors.As(err, &alert):
		return strings.TrimPrefix(alert.Error(), "tls: ")
	case errors.As(err, &record):
		return "the peer speaks no TLS"
	case errors.Is(err, errTooMuch):
		return errTooMuch.Error()
	}
	var op *net.OpError // how crypto/tls wraps an alert of the peer
	if errors.As(err, &op) && op.Op == "remote error" {
		return strings.TrimPrefix(op.Err.Error(), "tls: ")
	}
	return "handshake not possible"
}

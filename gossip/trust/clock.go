package trust

import (
	"crypto/x509"
	"fmt"
	"time"
)

// verifyTime is when to look at a peer's certificate when it is not in date
// now. Zero: there is no other time. The only clock here that can be known to
// be wrong is our own: when our own certificate is out of date by it, or it is,
// the peer's is looked at when it and ours began to be valid together. Peers
// whose clocks are right refuse us if it is our certificate, so an expired one
// gets nobody in; and if it is the clock, we stay with them.
func verifyTime(own, peer *x509.Certificate, now time.Time) time.Time {
	if inDate(own, now) {
		return time.Time{}
	}
	both := own.NotBefore
	if peer.NotBefore.After(both) {
		both = peer.NotBefore
	}
	if !inDate(own, both) || !inDate(peer, both) {
		return time.Time{}
	}
	return both
}

func inDate(c *x509.Certificate, at time.Time) bool {
	return !at.Before(c.NotBefore) && !at.After(c.NotAfter)
}

// ClockDoubt says that our own certificate is out of date by this machine's
// clock, so that one of the two is wrong; nil if it is in date.
func (i *Identity) ClockDoubt() error {
	own, now := i.current.Load().svid.Certificates[0], time.Now()
	if i.plaintext || inDate(own, now) {
		return nil
	}
	return fmt.Errorf("own certificate is valid from %s to %s, but this machine's clock says %s: set the clock, or issue the certificate anew",
		own.NotBefore.UTC().Format(time.RFC3339), own.NotAfter.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
}

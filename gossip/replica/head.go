package replica

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/isthmus-dns/isthmus/discovery"
	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
	"github.com/isthmus-dns/isthmus/gossip/trust"
)

// headDomain begins what is signed; see trust.Identity.Sign.
const headDomain = "isthmus head v1\n"

// head is a verified head.
type head struct {
	*wire.Head
	root   digest
	signed *wire.SignedHead // with its chain, though most heads travel without
}

func (h *head) version() discovery.Version {
	return discovery.Version{Epoch: h.Epoch, Seq: h.Seq}
}

// newerThan tells whether h says more than o: a newer version, or a later
// heartbeat of the same one. Any head is newer than none.
func (h *head) newerThan(o *head) bool {
	if o == nil {
		return true
	}
	if h.version() != o.version() {
		return o.version().Less(h.version())
	}
	return h.Heartbeat > o.Heartbeat
}

// sign makes a head of a cluster's own part.
func sign(identity *trust.Identity, w *wire.Head) (*head, error) {
	encoded, err := deterministic.Marshal(w)
	if err != nil {
		return nil, fmt.Errorf("head: %w", err)
	}
	s, err := identity.Sign(append([]byte(headDomain), encoded...))
	if err != nil {
		return nil, err
	}
	return &head{
		Head: w, root: digest(w.Root),
		signed: &wire.SignedHead{Head: encoded, KeyId: s.KeyID, Signature: s.Sig, Chain: s.Chain},
	}, nil
}

// Errors about heads that are not taken. They are sentinels so that each has
// its counter.
var (
	errMalformed  = errors.New("head is malformed")
	errForeign    = errors.New("head is of another clusterset")
	errImpostor   = errors.New("head is signed by another identity than its cluster's watcher")
	errTooLarge   = errors.New("part is larger than the limits allow")
	errTooMany    = errors.New("clusterset has more clusters than the limits allow")
	errEquivocate = errors.New("same version with another content")
	errCloned     = errors.New("cluster name is taken by a cluster with another uid")
	errRoot       = errors.New("content does not have the signed root")
	errRetired    = errors.New("cluster is retired")
)

// parse checks a head's form; its signature is still to be verified.
func parse(clusterset string, limits Limits, s *wire.SignedHead) (*wire.Head, error) {
	w := &wire.Head{}
	if err := unmarshalHead(s, w); err != nil {
		return nil, err
	}
	if len(w.Root) != len(digest{}) || w.Epoch == 0 || w.Epoch > maxEpoch || len(w.Uid) > 128 {
		return nil, errMalformed
	}
	if w.Retired && (w.Items != 0 || digest(w.Root) != emptyPart.root) {
		return nil, errMalformed
	}
	if w.Clusterset != clusterset {
		return nil, fmt.Errorf("%w: %q", errForeign, clip(w.Clusterset))
	}
	if int(w.Items) > limits.Items {
		return nil, fmt.Errorf("cluster %s: %d items: %w", w.Cluster, w.Items, errTooLarge)
	}
	return w, nil
}

// verify checks the signature of a head that parse has read. The error may be
// trust.ErrUnknownKey: ask for the chain by a pull.
func verify(identity *trust.Identity, w *wire.Head, s *wire.SignedHead) (*head, error) {
	by, err := identity.Verify(append([]byte(headDomain), s.Head...), trust.Signature{KeyID: s.KeyId, Sig: s.Signature, Chain: s.Chain})
	if err != nil {
		return nil, fmt.Errorf("head of cluster %s: %w", w.Cluster, err)
	}
	if want := (trust.ID{Clusterset: w.Clusterset, Cluster: w.Cluster, Role: trust.Watcher}); by.ID != want {
		return nil, fmt.Errorf("cluster %s: %w: %s", w.Cluster, errImpostor, by.ID)
	}
	return &head{
		Head: w, root: digest(w.Root),
		signed: &wire.SignedHead{Head: s.Head, KeyId: s.KeyId, Signature: s.Signature, Chain: by.Chain},
	}, nil
}

// bare is a signed head without its chain, for peers that know the key.
func (h *head) bare() *wire.SignedHead {
	return &wire.SignedHead{Head: h.signed.Head, KeyId: h.signed.KeyId, Signature: h.signed.Signature}
}

// clip keeps hostile text out of logs.
func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}

// unmarshalHead reads a head that is not verified yet, to know whose it is.
func unmarshalHead(s *wire.SignedHead, into *wire.Head) error {
	if len(s.GetHead()) == 0 || len(s.GetHead()) > maxHead {
		return errMalformed
	}
	if err := proto.Unmarshal(s.GetHead(), into); err != nil || discovery.ValidLabel(into.Cluster) != nil {
		return errMalformed
	}
	return nil
}

// digest is what digests say of a head.
func (h *head) digest() *wire.Digest {
	return &wire.Digest{Cluster: h.Cluster, Epoch: h.Epoch, Seq: h.Seq, Heartbeat: h.Heartbeat, RootPrefix: h.root[:prefixLen]}
}

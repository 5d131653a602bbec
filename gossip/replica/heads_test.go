package replica

import (
	"bytes"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/isthmus-dns/isthmus/gossip/replica/wire"
	"github.com/isthmus-dns/isthmus/gossip/trust"
)

// TestWhatIsKnownIsNotVerified: a copy of a known message costs no signature
// check, and what contradicts a known head is still refused by name.
func TestWhatIsKnownIsNotVerified(t *testing.T) {
	r := alone(t, "west")
	other := records(t, service("user", 1))
	now := owns(t, "east", &wire.Head{Uid: "u", Epoch: 2, Seq: 5, Heartbeat: 3})
	_, _, err := r.store.adopt("east", now.answer(), emptyPart)
	require.NoError(t, err)
	for what, test := range map[string]struct {
		head    *wire.Head
		content *part
		err     error
	}{
		"the same":              {&wire.Head{Uid: "u", Epoch: 2, Seq: 5, Heartbeat: 3}, emptyPart, nil},
		"an earlier heartbeat":  {&wire.Head{Uid: "u", Epoch: 2, Seq: 5, Heartbeat: 2}, emptyPart, nil},
		"an earlier version":    {&wire.Head{Uid: "u", Epoch: 2, Seq: 4, Heartbeat: 9}, other, nil},
		"an earlier epoch":      {&wire.Head{Uid: "u", Epoch: 1, Seq: 9}, other, nil},
		"a later heartbeat":     {&wire.Head{Uid: "u", Epoch: 2, Seq: 5, Heartbeat: 4}, emptyPart, trust.ErrBadSignature},
		"a later version":       {&wire.Head{Uid: "u", Epoch: 2, Seq: 6}, other, trust.ErrBadSignature},
		"equivocation":          {&wire.Head{Uid: "u", Epoch: 2, Seq: 5}, other, trust.ErrBadSignature},
		"another uid, an older": {&wire.Head{Uid: "v", Epoch: 1, Seq: 1}, other, trust.ErrBadSignature},
	} {
		t.Run(what, func(t *testing.T) {
			forged, _ := from(t, now.identity(t), test.head, test.content)
			forged.signed.Signature = []byte("forged")
			_, result, err := r.store.accept(&wire.Announcement{Head: forged.signed})
			require.Equal(t, old, result)
			if test.err == nil {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, test.err)
			}
		})
	}
	for what, test := range map[string]struct {
		head *wire.Head
		err  error
	}{
		"equivocation": {&wire.Head{Uid: "u", Epoch: 2, Seq: 5}, errEquivocate},
		"a clone":      {&wire.Head{Uid: "v", Epoch: 1, Seq: 1}, errCloned},
	} {
		h, _ := from(t, now.identity(t), test.head, other)
		_, _, err := r.store.accept(&wire.Announcement{Head: h.signed})
		require.ErrorIs(t, err, test.err, what)
	}
}

// TestHeartbeatCostsTheSameInACrowd: what one cluster says must not cost work
// for all.
func TestHeartbeatCostsTheSameInACrowd(t *testing.T) {
	cost := func(clusters int) float64 {
		r, msgs, i := crowd(t, clusters), beats(t, "cluster-000", 40), 0
		return testing.AllocsPerRun(len(msgs)-2, func() { r.HandleMessage("", msgs[i]); i++ })
	}
	require.InDelta(t, cost(1), cost(200), 5)
}

// TestDigestLagsAHeartbeat: a heartbeat that is on its way is not pulled, one
// that was lost is.
func TestDigestLagsAHeartbeat(t *testing.T) {
	r := alone(t, "west")
	o := owns(t, "east", &wire.Head{Epoch: 1, Seq: 1, Heartbeat: 7})
	_, _, err := r.store.adopt("east", o.answer(), emptyPart)
	require.NoError(t, err)
	w := &wire.Digests{}
	require.NoError(t, proto.Unmarshal(r.Digest(), w))
	require.Len(t, w.Digests, 1)
	d := w.Digests[0]
	require.True(t, bytes.Equal(d.RootPrefix, emptyPart.root[:prefixLen]))
	for beat, lacks := range map[uint64]bool{0: false, 7: false, 8: false, 9: true, math.MaxUint64: true} {
		d.Heartbeat = beat
		require.Equal(t, lacks, r.lacks(d), beat)
	}
	d.Heartbeat, d.Seq = 0, 2
	require.True(t, r.lacks(d), "a version is never left out")
	r.store.forget("east")
	require.NoError(t, proto.Unmarshal(r.Digest(), w))
	require.Empty(t, w.Digests)
}

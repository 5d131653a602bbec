package transport

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/isthmus-dns/isthmus/gossip"
)

// A packet connection carries frames: an octet that says what is inside, its
// length in three octets, big-endian, and that many octets.
const (
	frameHeader = 4
	framePacket = 0

	// maxFrame bounds frames of kinds to come, which are skipped.
	maxFrame = 256 << 10
)

var errFrame = errors.New("frame refused")

// appendFrame appends a packet's frame.
func appendFrame(b, packet []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, framePacket<<24|uint32(len(packet)))
	return append(b, packet...)
}

// parseFrame reads a frame's header, which has frameHeader octets.
func parseFrame(head []byte) (kind byte, size int, err error) {
	v := binary.BigEndian.Uint32(head)
	kind, size = byte(v>>24), int(v&0xffffff)
	switch {
	case kind == framePacket && size == 0:
		return 0, 0, fmt.Errorf("%w: empty packet", errFrame)
	case kind == framePacket && size > gossip.MaxPacket:
		return 0, 0, fmt.Errorf("%w: packet of %d octets, at most %d are allowed", errFrame, size, gossip.MaxPacket)
	case size > maxFrame:
		return 0, 0, fmt.Errorf("%w: %d octets, at most %d are allowed", errFrame, size, maxFrame)
	}
	return kind, size, nil
}

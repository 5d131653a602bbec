package gossip

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"hash/crc32"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The file of remembered peers is text, so that a person can read it:
//
//	isthmus-peers 1 <CRC-32C of what follows, eight hexadecimal digits>
//	<member> <IP:port> <seconds for which it was lost, 0 if it was alive>
//	…
const (
	memoryMagic   = "isthmus-peers"
	memoryVersion = "1"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errMemory is wrapped by errors about what a file of remembered peers holds.
var errMemory = errors.New("file of remembered peers")

// rememberedPeer is a member as a pool passes it on to the next process.
type rememberedPeer struct {
	name string
	addr netip.AddrPort
	lost time.Duration // for which it was lost; 0: it was alive
}

// encodePeers writes at most MaxMembers peers, those that were seen last.
func encodePeers(peers []rememberedPeer) []byte {
	peers = slices.SortedFunc(slices.Values(peers), func(a, b rememberedPeer) int {
		return cmp.Or(cmp.Compare(a.lost, b.lost), cmp.Compare(a.name, b.name))
	})
	var body []byte
	for _, p := range peers[:min(len(peers), MaxMembers)] {
		body = fmt.Appendf(body, "%s %s %d\n", p.name, p.addr, int64(p.lost/time.Second))
	}
	head := fmt.Appendf(nil, "%s %s %08x\n", memoryMagic, memoryVersion, crc32.Checksum(body, castagnoli))
	return append(head, body...)
}

// decodePeers reads what encodePeers wrote; errors wrap errMemory.
func decodePeers(b []byte) ([]rememberedPeer, error) {
	if len(b) > maxMemory {
		return nil, fmt.Errorf("%w: longer than %d octets", errMemory, maxMemory)
	}
	head, body, _ := bytes.Cut(b, []byte("\n"))
	fields := strings.Split(string(head), " ")
	if len(fields) != 3 || fields[0] != memoryMagic {
		return nil, fmt.Errorf("%w: does not begin with %q", errMemory, memoryMagic)
	}
	if fields[1] != memoryVersion {
		return nil, fmt.Errorf("%w: version %.8q, want %s", errMemory, fields[1], memoryVersion)
	}
	if fields[2] != fmt.Sprintf("%08x", crc32.Checksum(body, castagnoli)) {
		return nil, fmt.Errorf("%w: wrong checksum", errMemory)
	}
	var peers []rememberedPeer
	for line := range strings.Lines(string(body)) {
		p, err := parsePeer(strings.TrimSuffix(line, "\n"))
		if err != nil {
			return nil, fmt.Errorf("%w: line %d: %w", errMemory, len(peers)+2, err)
		}
		if len(peers) == MaxMembers {
			return nil, fmt.Errorf("%w: more than %d members", errMemory, MaxMembers)
		}
		peers = append(peers, p)
	}
	return peers, nil
}

func parsePeer(line string) (rememberedPeer, error) {
	fields := strings.Split(line, " ")
	if len(fields) != 3 {
		return rememberedPeer{}, errors.New("want a member, an address and a number")
	}
	if _, _, err := SplitName(fields[0]); err != nil {
		return rememberedPeer{}, err
	}
	addr, err := netip.ParseAddrPort(fields[1])
	if err != nil {
		return rememberedPeer{}, err
	}
	if ip := addr.Addr(); ip.Is4In6() || ip.Zone() != "" || ip.IsUnspecified() || ip.IsMulticast() || addr.Port() == 0 {
		return rememberedPeer{}, errAddr
	}
	seconds, err := strconv.ParseUint(fields[2], 10, 31)
	if err != nil {
		return rememberedPeer{}, err
	}
	return rememberedPeer{name: fields[0], addr: addr, lost: time.Duration(seconds) * time.Second}, nil
}

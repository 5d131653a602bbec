package gossip

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// Message types of memberlist's wire protocol (net.go there; the numbers are
// append-only). Those left out never pass the gate: compressed (9), encrypted
// (10), TCP user messages, labels (244).
const (
	typePing         = 0
	typeIndirectPing = 1
	typeAck          = 2
	typeSuspect      = 3
	typeAlive        = 4
	typeDead         = 5
	typePushPull     = 6
	typeCompound     = 7
	typeUser         = 8
	typeNack         = 11
	typeCRC          = 12
	typeError        = 13
)

// maxControl is the largest message of memberlist itself: an alive message
// with a name of 127 octets, an IPv6 address and maxMeta takes some 350.
const maxControl = 1 << 10

// crcHeader is the type and the IEEE CRC-32 of what follows.
const crcHeader = 5

// Why a packet is refused. The texts serve as metric label values.
var (
	errEmpty     = errors.New("empty")
	errTooLarge  = errors.New("too_large")
	errTruncated = errors.New("truncated")
	errType      = errors.New("type")
	errChecksum  = errors.New("checksum")
	errNested    = errors.New("nested")
)

// splitPacket takes a packet apart: a message, or a compound of messages, with
// or without a checksum. It appends them to parts, whose elements share buf.
// On an error nothing of the packet must be used.
func splitPacket(buf []byte, parts [][]byte) ([][]byte, error) {
	if len(buf) > MaxPacket {
		return nil, errTooLarge
	}
	if len(buf) > 0 && buf[0] == typeCRC {
		if len(buf) < crcHeader {
			return nil, errTruncated
		}
		if binary.BigEndian.Uint32(buf[1:]) != crc32.ChecksumIEEE(buf[crcHeader:]) {
			return nil, errChecksum
		}
		buf = buf[crcHeader:]
	}
	if len(buf) == 0 {
		return nil, errEmpty
	}
	if buf[0] != typeCompound {
		return append(parts, buf), checkMessage(buf)
	}
	return splitCompound(buf[1:], parts)
}

// splitCompound reads a count, that many lengths of two octets, and the
// messages. memberlist never nests compounds, and unpacking nested ones costs
// it a stack frame for five octets.
func splitCompound(buf []byte, parts [][]byte) ([][]byte, error) {
	if len(buf) < 1 {
		return nil, errTruncated
	}
	n := int(buf[0])
	lengths := buf[1:]
	if len(lengths) < 2*n {
		return nil, errTruncated
	}
	rest := lengths[2*n:]
	for i := range n {
		size := int(binary.BigEndian.Uint16(lengths[2*i:]))
		if size > len(rest) {
			return nil, errTruncated
		}
		part := rest[:size:size]
		if err := checkMessage(part); err != nil {
			return nil, err
		}
		parts, rest = append(parts, part), rest[size:]
	}
	if len(rest) > 0 {
		return nil, errTooLarge
	}
	return parts, nil
}

// checkMessage looks at one message's type and size.
func checkMessage(msg []byte) error {
	if len(msg) == 0 {
		return errEmpty
	}
	switch msg[0] {
	case typeUser:
		return nil
	case typePing, typeIndirectPing, typeAck, typeSuspect, typeAlive, typeDead, typeNack:
		if len(msg) > maxControl {
			return errTooLarge
		}
		return nil
	case typeCompound, typeCRC:
		return errNested
	}
	return errType
}

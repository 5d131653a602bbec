// Package transport carries the gossip of watchers over mutual TLS: packets on
// one lasting connection a peer, streams on one connection each. It implements
// gossip.Transport, and hands the gRPC connections that come to the same port
// to whoever serves them.
//
// It knows no member list and looks into no packet: package gossip does both,
// and gives it names with addresses. Who is who comes from gossip/trust.
//
// # A connection
//
//	TCP ─▶ ClientHello ─▶ TLS 1.3, both sides verified ─▶ ALPN h2 ──────────────▶ GRPC() listener
//	           │                                      └▶ ALPN isthmus-gossip/1 ─▶ hello ─▶ packets or stream
//	           └▶ SNI of a sibling ─▶ copied to it, unread
//
// In TLS 1.3 a client has finished its handshake before the server has looked
// at its certificate, and a refusal reaches it as a bare alert. So the hello
// comes with an answer that says in words why a member is refused: the
// certificate names another cluster, it is an agent's, the address belongs to
// somebody else.
//
// With an insecure identity there is no TLS; the first octets tell gRPC from
// gossip, and names are believed.
package transport

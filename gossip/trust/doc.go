// Package trust is who is who in a clusterset: SPIFFE identities from files,
// the mutual TLS of all connections, and the signatures under heads.
//
// It knows nothing of what is carried or signed. gossip/transport and
// gossip/replica take their *tls.Config from an Identity; gossip/replica signs
// and verifies heads with it; "isthmus pki" issues certificates with an
// Authority.
//
// Identities are SPIFFE IDs (https://spiffe.io, SPIFFE-ID and X509-SVID
// standards): spiffe://<clusterset>/cluster/<name>/watcher or …/agent. The
// clusterset is the trust domain.
package trust

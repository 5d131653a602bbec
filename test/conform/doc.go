// Package conform holds what tests of a whole server against the DNS's own
// rules need: a table with services of every kind, watchers in the test's
// process that serve it to a real agent, the same table as a plain zone, and
// raw packets that no DNS library would make.
//
// The table is a [Model]; [Model.Watch] publishes it the product's way (signed
// parts, mutual TLS, the stream to agents), and [Model.Zone] renders it without
// a line of the plugin's code, so that a name server that isn't ours can serve
// the same names. [Packets] are the queries of RFC 8906 and their worse
// relatives. The tests run the real program; cmd/isthmus/internal/dns fuzzes a
// server with the same packets and table. README.md lists what differs from a
// plain zone and from the RFCs, and the tests hold it to that.
package conform

package isthmus

import (
	"runtime"
	"testing"
	"time"
	"weak"

	"github.com/stretchr/testify/require"

	"github.com/isthmus-dns/isthmus/gossip/replica"
)

// A service that is seldom asked for keeps what was built for it, but not what
// was known of all gateways then: of 100,000 services each would keep another
// state of thousands of gateways.
func TestAnswersDontKeepGatewayStates(t *testing.T) {
	l := region(t, "west us-west1/us-west1-a 0/1", "east us-east1/x 2/2")
	p := newPlugin(l)
	e := l.table.Lookup("s.n")
	l.probe(map[string]replica.GatewayState{"east 192.0.2.2:443": upAfter(time.Millisecond)})
	a := p.view.answers(e, l.View())
	then := weak.Make(l.Gateways())
	l.probe(map[string]replica.GatewayState{"east 192.0.2.2:443": down})
	p.view.outlook.sweep(time.Now())
	require.Eventually(t, func() bool {
		runtime.GC()
		return then.Value() == nil
	}, 10*time.Second, time.Millisecond)
	require.Same(t, a, e.Memo(p.view), "nobody has asked since")
}

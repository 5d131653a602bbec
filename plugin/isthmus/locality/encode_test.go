package locality

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEncode(t *testing.T) {
	text, err := Routing{}.Encode()
	require.NoError(t, err)
	require.Empty(t, text)
	want := Routing{
		Rules: Rules{
			Failover:   []Failover{{From: "us-west1", To: []string{"us-central1"}}},
			Distribute: []Distribute{{From: "us-west1/*", To: map[string]uint32{"*": 100}}},
			Order:      OrderLatency,
		},
		Services: []Override{{Match: "a/b", Rules: Rules{Affinity: AffinityClient, Failover: []Failover{}}}},
	}
	text, err = want.Encode()
	require.NoError(t, err)
	got, err := DecodeRouting(text)
	require.NoError(t, err)
	require.Equal(t, want, got, "an empty list is not none")
	_, err = DecodeRouting("{")
	require.Error(t, err)
	_, err = DecodeRouting(`{"Later":1}`)
	require.NoError(t, err)
}

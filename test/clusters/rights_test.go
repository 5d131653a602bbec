package clusters

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// right is a line of `kubectl auth can-i --list`: what, which of them ("" for
// all), and the verbs in order.
type right struct{ what, names, verbs string }

// rightLine has resources, URLs, names of resources, and verbs.
var rightLine = regexp.MustCompile(`^(\S*)\s+\[(.*?)\]\s+\[(.*?)\]\s+\[(.*?)\]$`)

// canI is what kubectl lists for an account of the product.
func (c *cluster) canI(t testing.TB, account string) (all []right) {
	t.Helper()
	out := c.kubectl(t, "-n isthmus auth can-i --list --as=system:serviceaccount:isthmus:"+account)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	for _, line := range lines[1:] {
		m := rightLine.FindStringSubmatch(line)
		require.NotNil(t, m, line)
		verbs := strings.Fields(m[4])
		slices.Sort(verbs)
		all = append(all, right{m[1] + m[2], m[3], strings.Join(verbs, " ")})
	}
	return all
}

// rights are those that the manual tells of: columns of a fixed width.
func (m manual) rights(t testing.TB) (all []right) {
	t.Helper()
	const names, verbs = len("RESOURCES                                        "), len("RESOURCES                                        RESOURCE NAMES       ")
	_, list, found := strings.Cut(string(m), "## What the accounts may do\n")
	require.True(t, found)
	_, list, _ = strings.Cut(list, "```\nRESOURCES")
	list, _, _ = strings.Cut(list, "```")
	for _, line := range strings.Split(strings.TrimSpace(list), "\n")[1:] {
		all = append(all, right{strings.TrimSpace(line[:names]), strings.TrimSpace(line[names:verbs]), line[verbs:]})
	}
	return all
}

// testRights: each account may do what the manual says, and nothing else but
// what every account may.
func testRights(t *testing.T, f *fleet) {
	want := f.manual.rights(t)
	require.NotEmpty(t, want)
	for _, c := range f.clusters {
		everyone := c.canI(t, "nobody")
		more := func(account string) []right {
			return slices.DeleteFunc(c.canI(t, account), func(r right) bool { return slices.Contains(everyone, r) })
		}
		require.ElementsMatch(t, want, more("isthmus-watcher"), c.name)
		require.Empty(t, more("isthmus-agent"), c.name)
	}
}

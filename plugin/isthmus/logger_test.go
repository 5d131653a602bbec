package isthmus

import (
	"bytes"
	stdlog "log"
	"testing"

	clog "github.com/coredns/coredns/plugin/pkg/log"
	"github.com/stretchr/testify/require"
)

func TestLogger(t *testing.T) {
	var b bytes.Buffer
	before, flags := stdlog.Writer(), stdlog.Flags()
	stdlog.SetOutput(&b)
	stdlog.SetFlags(0)
	defer func() {
		stdlog.SetOutput(before)
		stdlog.SetFlags(flags)
		clog.D.Clear()
	}()
	logger := newLogger().With("link", "a:1").WithGroup("peer")
	logger.Debug("not shown")
	logger.Info("connected", "cluster", "west", "after", 3)
	logger.Warn("refused", "err", "a \"b\"\nc")
	logger.Warn("refused", "cluster", "a\x1b[2J\u202eb", "name", "")
	logger.Error("gone")
	clog.D.Set()
	logger.Debug("shown", "n", 1)
	require.Equal(t, `[INFO] plugin/isthmus: connected link=a:1 peer.cluster=west peer.after=3
[WARNING] plugin/isthmus: refused link=a:1 peer.err="a \"b\"\nc"
[WARNING] plugin/isthmus: refused link=a:1 peer.cluster="a\x1b[2J\u202eb" peer.name=""
[ERROR] plugin/isthmus: gone link=a:1
[DEBUG] plugin/isthmus: shown link=a:1 peer.n=1
`, b.String())
}

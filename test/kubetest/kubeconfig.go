package kubetest

import (
	"github.com/stretchr/testify/require"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// WriteKubeconfig writes a file that gives programs the access of a
// [Cluster.Token], as what the kubelet mounts into a Pod does, and returns it.
func (c *Cluster) WriteKubeconfig(file string, access *rest.Config) string {
	c.t.Helper()
	config := clientcmdapi.NewConfig()
	config.Clusters["c"] = &clientcmdapi.Cluster{Server: access.Host, CertificateAuthorityData: access.CAData}
	config.AuthInfos["u"] = &clientcmdapi.AuthInfo{Token: access.BearerToken}
	config.Contexts["x"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u"}
	config.CurrentContext = "x"
	require.NoError(c.t, clientcmd.WriteToFile(*config, file))
	return file
}

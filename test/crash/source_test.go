package crash

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/isthmus-dns/isthmus/test/cluster"
	"github.com/isthmus-dns/isthmus/test/kubetest"
)

// shop is the namespace of all services here.
const shop = "shop"

// source is what a cluster's services are written to. A service's value is its
// port, so that each change shows in SRV answers, and none looks like another.
type source interface {
	create(name string, value int) error
	update(name string, value int) error
	remove(name string) error
}

// gateway is the annotation that gives other clusters the value as port, too.
func gateway(c *cluster.Cluster, value int) string { return fmt.Sprintf("%s:%d", c.Gateway, value) }

// folder is a folder of manifests.
type folder struct{ c *cluster.Cluster }

var _ source = folder{}

const manifest = `apiVersion: v1
kind: Service
metadata:
  namespace: shop
  name: %[1]s
  annotations: {isthmus.dev/export: "true", isthmus.dev/gateway: "%[2]s"}
spec:
  clusterIP: %[3]s
  ports: [{name: http, port: %[4]d}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {namespace: shop, name: %[1]s, labels: {kubernetes.io/service-name: %[1]s}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints: [{addresses: [10.200.0.1], conditions: {ready: true}}]
`

func (f folder) file(name string) string {
	return filepath.Join(f.c.Dir, "manifests", name+".yaml")
}

func (f folder) create(name string, value int) error { return f.update(name, value) }

func (f folder) update(name string, value int) error {
	return cluster.Replace(f.file(name), fmt.Sprintf(manifest, name, gateway(f.c, value), f.c.ClusterIP(name), value))
}

func (f folder) remove(name string) error { return os.Remove(f.file(name)) }

// server is an API server.
type server struct {
	c      *cluster.Cluster
	client kubernetes.Interface
	ctx    context.Context
}

var _ source = server{}

// newServer writes namespaces and rights to an API server.
func newServer(t *testing.T, kube *kubetest.Cluster) server {
	t.Helper()
	deploy := filepath.Join("..", "..", "deploy", "base")
	kube.Apply(filepath.Join(deploy, "namespace.yaml"), filepath.Join(deploy, "rbac.yaml"))
	_, err := kube.Client().CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: shop}}, metav1.CreateOptions{})
	require.NoError(t, err)
	return server{client: kube.Client(), ctx: t.Context()}
}

// create writes the endpoints before the service: a service without any would
// be another content.
func (s server) create(name string, value int) error {
	ready, port, portName := true, int32(8080), "http"
	_, err := s.client.DiscoveryV1().EndpointSlices(shop).Create(s.ctx, &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: name}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: &portName, Port: &port}},
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{"10.200.0.1"}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}}},
	}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name}}
	s.fill(svc, value)
	_, err = s.client.CoreV1().Services(shop).Create(s.ctx, svc, metav1.CreateOptions{})
	return err
}

func (s server) fill(svc *corev1.Service, value int) {
	svc.Annotations = map[string]string{"isthmus.dev/export": "true", "isthmus.dev/gateway": gateway(s.c, value)}
	svc.Spec.Ports = []corev1.ServicePort{{Name: "http", Port: int32(value)}}
}

func (s server) update(name string, value int) error {
	svc, err := s.client.CoreV1().Services(shop).Get(s.ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	s.fill(svc, value)
	_, err = s.client.CoreV1().Services(shop).Update(s.ctx, svc, metav1.UpdateOptions{})
	return err
}

// remove leaves the endpoints until the service is gone, for the same reason.
func (s server) remove(name string) error {
	if err := s.client.CoreV1().Services(shop).Delete(s.ctx, name, metav1.DeleteOptions{}); err != nil {
		return err
	}
	return s.client.DiscoveryV1().EndpointSlices(shop).Delete(s.ctx, name, metav1.DeleteOptions{})
}

// truth is what the API server says.
func (s server) truth() (map[string]int, error) {
	list, err := s.client.CoreV1().Services(shop).List(s.ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	truth := map[string]int{}
	for _, svc := range list.Items {
		truth[svc.Name] = int(svc.Spec.Ports[0].Port)
	}
	return truth, nil
}

// epoch is the last that was given out.
func (s server) epoch() (uint64, error) {
	m, err := s.client.CoreV1().ConfigMaps("isthmus").Get(s.ctx, "isthmus-epoch", metav1.GetOptions{})
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(m.Data["epoch"], 10, 64)
}

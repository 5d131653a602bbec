package clusters

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// patience is for a machine that others use too; what is waited for takes
// seconds.
const patience = 2 * time.Minute

// cluster is one of the clusterset.
type cluster struct {
	name       string
	number     int // the rig's, from 1
	kubeconfig string
	path       string // PATH with kubectl and isthmus
	client     kubernetes.Interface
}

func newCluster(t testing.TB, name string, number int, kubeconfig, path string) *cluster {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	require.NoError(t, err)
	config.QPS, config.Burst = -1, -1 // the tests wait for what they want, not for their turn
	client, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	return &cluster{name: name, number: number, kubeconfig: kubeconfig, path: path, client: client}
}

// shell runs a line as an administrator of the cluster would type it.
func (c *cluster) shell(dir, line, stdin string) (string, error) {
	cmd := exec.Command("sh", "-ec", line)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+c.path, "KUBECONFIG="+c.kubeconfig)
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%s in %s: %w: %s", line, c.name, err, bytes.TrimSpace(stderr.Bytes()))
	}
	return stdout.String(), nil
}

// kubectl runs a line of kubectl's arguments.
func (c *cluster) kubectl(t testing.TB, line string) string {
	t.Helper()
	out, err := c.shell("", "kubectl "+line, "")
	require.NoError(t, err)
	return out
}

// apply gives kubectl objects.
func (c *cluster) apply(t testing.TB, yaml string) {
	t.Helper()
	_, err := c.shell("", "kubectl apply -f -", yaml)
	require.NoError(t, err)
}

// exec runs a program in the Pod that people of the cluster would look from.
func (c *cluster) exec(line string) (string, error) {
	return c.shell("", "kubectl -n demo exec client -- "+line, "")
}

// rolledOut waits until the newest Pods of a workload serve.
func (c *cluster) rolledOut(t testing.TB, namespace, workload string) {
	t.Helper()
	c.kubectl(t, fmt.Sprintf("-n %s rollout status %s --timeout=%s", namespace, workload, patience))
}

// pods are those with a label that are not on their way out.
func (c *cluster) pods(ctx context.Context, namespace, label string) ([]corev1.Pod, error) {
	list, err := c.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: label})
	if err != nil {
		return nil, err
	}
	var there []corev1.Pod
	for _, pod := range list.Items {
		if pod.DeletionTimestamp == nil {
			there = append(there, pod)
		}
	}
	return there, nil
}

// log is what a Pod has logged since a time.
func (c *cluster) log(ctx context.Context, namespace, pod string, since time.Time) ([]byte, error) {
	options := &corev1.PodLogOptions{}
	if !since.IsZero() {
		options.SinceTime = &metav1.Time{Time: since} // whole seconds
	}
	stream, err := c.client.CoreV1().Pods(namespace).GetLogs(pod, options).Stream(ctx)
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	return io.ReadAll(stream)
}

// service reads a Service.
func (c *cluster) service(t testing.TB, namespace, name string) *corev1.Service {
	t.Helper()
	svc, err := c.client.CoreV1().Services(namespace).Get(t.Context(), name, metav1.GetOptions{})
	require.NoError(t, err)
	return svc
}

// balanced waits for the address of a Service of type LoadBalancer.
func (c *cluster) balanced(t testing.TB, namespace, name string) (address string) {
	t.Helper()
	await(t, patience, func() error {
		ingress := c.service(t, namespace, name).Status.LoadBalancer.Ingress
		if len(ingress) == 0 || ingress[0].IP == "" {
			return fmt.Errorf("%s/%s of %s has no address", namespace, name, c.name)
		}
		address = ingress[0].IP
		return nil
	})
	return address
}

// await tries again and again until there is no error.
func await(t testing.TB, limit time.Duration, try func() error) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	late := time.After(limit)
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			require.NoError(t, err, "still after %v", limit)
		}
	}
}

// each does something in all clusters at a time. It must not end the test: that
// only the test's own goroutine may do.
func each(t testing.TB, clusters []*cluster, do func(*cluster) error) {
	t.Helper()
	errs := make(chan error, len(clusters))
	for _, c := range clusters {
		go func() { errs <- do(c) }()
	}
	var failed []error
	for range clusters {
		if err := <-errs; err != nil {
			failed = append(failed, err)
		}
	}
	require.Empty(t, failed)
}

package deploy_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// peer is the other side of a connection; without a namespace it is no Pod.
type peer struct{ namespace, pod labels.Set }

var (
	outside  = peer{} // another cluster's gateway or watcher, a load balancer, the API server
	own      = labels.Set{"kubernetes.io/metadata.name": "isthmus"}
	watcher  = peer{own, labels.Set{"app.kubernetes.io/name": "isthmus-watcher"}}
	agent    = peer{own, labels.Set{"app.kubernetes.io/name": "isthmus-agent"}}
	shop     = peer{labels.Set{"kubernetes.io/metadata.name": "shop"}, labels.Set{"app": "shop"}}
	scraper  = peer{labels.Set{"kubernetes.io/metadata.name": "monitoring", "isthmus.dev/metrics": "true"}, labels.Set{"app": "prometheus"}}
	coredns  = peer{labels.Set{"kubernetes.io/metadata.name": "kube-system"}, labels.Set{"k8s-app": "kube-dns"}}
	injected = peer{own, labels.Set{"app": "somebody"}} // a Pod of the namespace that is not ours
)

// policies judge a Pod's connections by the NetworkPolicies that select it, as
// the API documents them: what no rule allows is denied once one selects the
// Pod. None of ours names a port: see TestPortsAreNumbers.
type policies []networkingv1.NetworkPolicy

func (all policies) allow(pod, other peer, kind networkingv1.PolicyType, protocol corev1.Protocol, port intstr.IntOrString) bool {
	selected := false
	for _, p := range all {
		if !fits(&p.Spec.PodSelector, pod.pod) {
			continue
		}
		for _, t := range p.Spec.PolicyTypes {
			selected = selected || t == kind
		}
		if kind == networkingv1.PolicyTypeIngress {
			for _, rule := range p.Spec.Ingress {
				if among(rule.From, other) && through(rule.Ports, protocol, port) {
					return true
				}
			}
			continue
		}
		for _, rule := range p.Spec.Egress {
			if among(rule.To, other) && through(rule.Ports, protocol, port) {
				return true
			}
		}
	}
	return !selected
}

func fits(selector *metav1.LabelSelector, set labels.Set) bool {
	s, err := metav1.LabelSelectorAsSelector(selector)
	return err == nil && s.Matches(set)
}

func among(peers []networkingv1.NetworkPolicyPeer, other peer) bool {
	for _, p := range peers {
		if p.IPBlock != nil || other.namespace == nil {
			continue // none of ours is by address
		}
		space := own.String() == other.namespace.String()
		if p.NamespaceSelector != nil {
			space = fits(p.NamespaceSelector, other.namespace)
		}
		if space && (p.PodSelector == nil || fits(p.PodSelector, other.pod)) {
			return true
		}
	}
	return len(peers) == 0
}

func through(ports []networkingv1.NetworkPolicyPort, protocol corev1.Protocol, port intstr.IntOrString) bool {
	for _, p := range ports {
		if *p.Protocol == protocol && (p.Port == nil || *p.Port == port) {
			return true
		}
	}
	return len(ports) == 0
}

func policiesOf(t *testing.T, objects []*unstructured.Unstructured) policies {
	t.Helper()
	var all policies
	for _, object := range objects {
		if object.GetKind() != "NetworkPolicy" {
			continue
		}
		var p networkingv1.NetworkPolicy
		require.NoError(t, runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &p))
		all = append(all, p)
	}
	return all
}

// TestPortsAreNumbers: not all networks find a port by its name, so the policies
// have the numbers that Pods listen on.
func TestPortsAreNumbers(t *testing.T) {
	objects := kustomize(t, "base")
	listen := map[string][]string{} // by account, which is called as the policy is
	for _, object := range objects {
		if kind := object.GetKind(); kind == "Deployment" || kind == "DaemonSet" {
			p := pod(t, object)
			for _, port := range p.Spec.Containers[0].Ports {
				protocol := port.Protocol
				if protocol == "" {
					protocol = corev1.ProtocolTCP
				}
				listen[p.Spec.ServiceAccountName] = append(listen[p.Spec.ServiceAccountName], fmt.Sprint(protocol, port.ContainerPort))
			}
		}
	}
	require.Len(t, listen, 2)
	for _, p := range policiesOf(t, objects) {
		for _, rule := range p.Spec.Ingress {
			for _, port := range rule.Ports {
				require.Contains(t, listen[p.Name], fmt.Sprint(*port.Protocol, port.Port.String()), p.Name)
			}
		}
		for _, rule := range p.Spec.Egress {
			for _, port := range rule.Ports {
				require.True(t, port.Port == nil || port.Port.Type == intstr.Int, p.Name)
			}
		}
	}
}

// TestDNSOnOtherPorts: where the cluster's DNS Pods don't listen on 53, watchers
// and agents reach them when the chart is told.
func TestDNSOnOtherPorts(t *testing.T) {
	for port, want := range map[int32]bool{53: true, 5353: true, 8053: false} {
		all := policiesOf(t, rendered(t, "networkPolicy.dnsPorts={53,5353}"))
		require.Equal(t, want, all.allow(agent, coredns, "Egress", "UDP", intstr.FromInt32(port)), port)
		require.Equal(t, want, all.allow(agent, coredns, "Egress", "TCP", intstr.FromInt32(port)), port)
		require.Equal(t, want, all.allow(watcher, coredns, "Egress", "UDP", intstr.FromInt32(port)), port)
	}
}

// TestNetworkPolicies: what must get through does, and nothing else. No network
// of ours enforces policies, so this reads them.
func TestNetworkPolicies(t *testing.T) {
	all := policiesOf(t, kustomize(t, "base"))
	number := intstr.FromInt32
	for _, tt := range []struct {
		what     string
		pod      peer
		other    peer
		kind     networkingv1.PolicyType
		protocol corev1.Protocol
		port     intstr.IntOrString
		allowed  bool
	}{
		{"gossip from other clusters", watcher, outside, "Ingress", "TCP", number(7946), true},
		{"agents' streams", watcher, agent, "Ingress", "TCP", number(7946), true},
		{"siblings", watcher, watcher, "Ingress", "TCP", number(7946), true},
		{"metrics of watchers", watcher, scraper, "Ingress", "TCP", number(8080), true},
		{"metrics of agents", agent, scraper, "Ingress", "TCP", number(9153), true},
		{"the API from any Pod", watcher, shop, "Ingress", "TCP", number(8080), false},
		{"the API from outside", watcher, outside, "Ingress", "TCP", number(8080), false},
		{"metrics from any Pod", agent, shop, "Ingress", "TCP", number(9153), false},
		{"gossip to other clusters", watcher, outside, "Egress", "TCP", number(7946), true},
		{"gossip to a node port", watcher, outside, "Egress", "TCP", number(30946), true},
		{"probe of a gateway", watcher, outside, "Egress", "TCP", number(15443), true},
		{"API server", watcher, outside, "Egress", "TCP", number(6443), true},
		{"watcher asks DNS", watcher, coredns, "Egress", "UDP", number(53), true},
		{"watcher, other UDP", watcher, outside, "Egress", "UDP", number(123), false},
		{"DNS from the cluster's", agent, coredns, "Ingress", "UDP", number(53), true},
		{"DNS from the node's network", agent, outside, "Ingress", "UDP", number(53), true},
		{"DNS by TCP", agent, coredns, "Ingress", "TCP", number(53), true},
		{"agent streams", agent, watcher, "Egress", "TCP", number(7946), true},
		{"agent asks DNS", agent, coredns, "Egress", "UDP", number(53), true},
		{"agent asks a node's cache", agent, outside, "Egress", "TCP", number(53), true},
		{"agent to the API server", agent, outside, "Egress", "TCP", number(6443), false},
		{"agent to other clusters", agent, outside, "Egress", "TCP", number(7946), false},
		{"agent to any Pod", agent, shop, "Egress", "TCP", number(80), false},
		{"whoever else is in the namespace, in", injected, shop, "Ingress", "TCP", number(80), false},
		{"whoever else is in the namespace, out", injected, outside, "Egress", "TCP", number(443), false},
	} {
		t.Run(tt.what, func(t *testing.T) {
			require.Equal(t, tt.allowed, all.allow(tt.pod, tt.other, tt.kind, tt.protocol, tt.port))
		})
	}
}

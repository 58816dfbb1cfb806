package test

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/lint/support"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/cli/values"
	"helm.sh/helm/v4/pkg/getter"
	release "helm.sh/helm/v4/pkg/release/v1"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	"sigs.k8s.io/yaml"
)

const chartDir = "../helm/veto"

// rendered is what the chart made, by kind and name.
type rendered map[string]any

// render renders the chart as `helm template` does.
func render(t *testing.T, set ...string) (string, error) {
	t.Helper()
	vals, err := (&values.Options{Values: set}).MergeValues(getter.Providers{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := loader.Load(chartDir)
	if err != nil {
		t.Fatal(err)
	}
	install := action.NewInstall(action.NewConfiguration())
	install.DryRunStrategy, install.ReleaseName, install.Namespace = action.DryRunClient, "veto", "auth"
	r, err := install.RunWithContext(context.Background(), c, vals)
	if err != nil {
		return "", err
	}
	return r.(*release.Release).Manifest, nil
}

func (r rendered) add(t *testing.T, document []byte) {
	t.Helper()
	var head struct{ Kind string }
	if err := yaml.Unmarshal(document, &head); err != nil {
		t.Fatal(err)
	}
	kinds := map[string]any{
		"ConfigMap": &core.ConfigMap{}, "Service": &core.Service{}, "StatefulSet": &apps.StatefulSet{},
		"PodDisruptionBudget": &policy.PodDisruptionBudget{}, "NetworkPolicy": &networking.NetworkPolicy{},
		"ServiceMonitor": &monitoring.ServiceMonitor{},
	}
	into, ok := kinds[head.Kind]
	if !ok {
		t.Fatalf("no type for %q in\n%s", head.Kind, document)
	}
	if err := yaml.UnmarshalStrict(document, into); err != nil {
		t.Errorf("%s: %v\n%s", head.Kind, err, document)
	}
	if s, ok := into.(*core.Service); ok {
		head.Kind += "/" + s.Name
	}
	r[head.Kind] = into
}

func parse(t *testing.T, manifest string) rendered {
	t.Helper()
	r := rendered{}
	for _, d := range strings.Split("\n"+manifest, "\n---\n") {
		if bytes.Contains([]byte(d), []byte("kind:")) {
			r.add(t, []byte(d))
		}
	}
	return r
}

var fullValues = []string{
	"existingSecret=certs", "httpSecret=http", "pepperSecret=pepper", "region=eu-1", "config.max_staleness=20s",
	"serviceMonitor.enabled=true", "serviceMonitor.tokenSecret=scrape", "networkPolicy.peerCIDRs={10.1.0.0/16}",
	"networkPolicy.dataFrom[0].podSelector.matchLabels.app=gateway", "env[0].name=GOMEMLIMIT", "env[0].value=1800MiB",
}

func TestChart(t *testing.T) {
	vals, err := (&values.Options{Values: fullValues}).MergeValues(getter.Providers{})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range lint.RunAll(chartDir, vals, "auth").Messages {
		if m.Severity > support.InfoSev {
			t.Error(m)
		}
	}
	for _, set := range [][]string{fullValues, {"existingSecret=certs", "insecureHTTP=true"}, {"existingSecret=certs", "insecureHTTP=true", "role=replica", "join={10.0.0.1}", "replicas=2"}} {
		manifest, err := render(t, set...)
		if err != nil {
			t.Fatal(err)
		}
		r := parse(t, manifest)
		s, ok := r["StatefulSet"].(*apps.StatefulSet)
		if !ok {
			t.Fatalf("no StatefulSet in\n%s", manifest)
		}
		checkSet(t, s)
		if nodes := r["Service/veto-nodes"].(*core.Service); !nodes.Spec.PublishNotReadyAddresses || nodes.Spec.ClusterIP != core.ClusterIPNone || s.Spec.ServiceName != nodes.Name {
			t.Error("nodes that are not ready do not find each other")
		}
		if pdb := r["PodDisruptionBudget"].(*policy.PodDisruptionBudget); pdb.Spec.MaxUnavailable.IntVal != 1 {
			t.Error("more than one node may go at once")
		}
		checkPorts(t, s, r["NetworkPolicy"].(*networking.NetworkPolicy))
		checkPaths(t, s, settings(t, r))
	}
}

func checkSet(t *testing.T, s *apps.StatefulSet) {
	t.Helper()
	pod := s.Spec.Template.Spec
	c := pod.Containers[0]
	switch {
	case s.Spec.PodManagementPolicy != apps.ParallelPodManagement:
		t.Error("the nodes do not start together")
	case !*pod.SecurityContext.RunAsNonRoot || *c.SecurityContext.AllowPrivilegeEscalation || !*c.SecurityContext.ReadOnlyRootFilesystem || c.SecurityContext.Capabilities.Drop[0] != "ALL":
		t.Error("the container may do too much")
	case *pod.AutomountServiceAccountToken:
		t.Error("the pod has a token of the cluster")
	case c.LivenessProbe.HTTPGet.Path != "/livez" || c.ReadinessProbe.HTTPGet.Path != "/readyz":
		t.Error("the probes ask for something else")
	case pod.Affinity.PodAntiAffinity == nil || len(pod.TopologySpreadConstraints) == 0:
		t.Error("the nodes may be all in one place")
	}
}

// checkPorts sees that what others are let in to is what the container has.
func checkPorts(t *testing.T, s *apps.StatefulSet, n *networking.NetworkPolicy) {
	t.Helper()
	named := map[string]core.Protocol{}
	for _, p := range s.Spec.Template.Spec.Containers[0].Ports {
		if named[p.Name] = p.Protocol; p.Protocol == "" {
			named[p.Name] = core.ProtocolTCP
		}
	}
	open := 0
	for _, in := range n.Spec.Ingress {
		for _, p := range in.Ports {
			want := core.ProtocolTCP
			if p.Protocol != nil {
				want = *p.Protocol
			}
			if named[p.Port.StrVal] != want {
				t.Errorf("the policy lets in to %s %s, which the container does not have", p.Port, want)
			}
			open++
		}
	}
	if open != len(named) {
		t.Errorf("the policy lets in to %d ports of %d", open, len(named))
	}
}

// settings are those in the ConfigMap.
func settings(t *testing.T, r rendered) map[string]any {
	t.Helper()
	var c map[string]any
	if err := yaml.Unmarshal([]byte(r["ConfigMap"].(*core.ConfigMap).Data["veto.yaml"]), &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// checkPaths sees that every path of the settings is in a volume, and that of the data in one that
// can be written.
func checkPaths(t *testing.T, s *apps.StatefulSet, settings map[string]any) {
	t.Helper()
	for name, v := range settings {
		path, ok := v.(string)
		if !ok || !strings.HasPrefix(path, "/") {
			continue
		}
		found := false
		for _, m := range s.Spec.Template.Spec.Containers[0].VolumeMounts {
			if path == m.MountPath || filepath.Dir(path) == m.MountPath {
				found = m.ReadOnly == (name != "data_dir")
			}
		}
		if !found {
			t.Errorf("%s: %s is in no volume that does for it", name, path)
		}
	}
}

func TestChartRefuses(t *testing.T) {
	for want, set := range map[string][]string{
		"existingSecret:":             {"insecureHTTP=true"},
		"httpSecret:":                 {"existingSecret=c"},
		"replicas:":                   {"existingSecret=c", "insecureHTTP=true", "replicas=2"},
		"join:":                       {"existingSecret=c", "insecureHTTP=true", "role=replica"},
		"role:":                       {"existingSecret=c", "insecureHTTP=true", "role=king"},
		"serviceMonitor.tokenSecret:": {"existingSecret=c", "insecureHTTP=true", "serviceMonitor.enabled=true"},
	} {
		if _, err := render(t, set...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v", set, err)
		}
	}
}

{{- /* Labels of an object; "name" is the component's, or empty for what both share. */ -}}
{{- define "isthmus.labels" -}}
{{- with .name -}}
app.kubernetes.io/name: {{ . }}
{{ end -}}
app.kubernetes.io/part-of: isthmus
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end }}

{{- /* A Pod's labels change only when the Pod must: no version of the chart. */ -}}
{{- define "isthmus.podLabels" -}}
app.kubernetes.io/name: {{ .name }}
app.kubernetes.io/part-of: isthmus
{{- with .more }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "isthmus.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end }}

{{- /* watcher.yaml: the values of that name, and what the chart knows. */ -}}
{{- define "isthmus.watcherConfig" -}}
{{- $v := .Values -}}
{{- $c := dict "clusterset" $v.clusterset "cluster" $v.cluster "state" "/var/lib/isthmus" "http" "0.0.0.0:8080" -}}
{{- range $name := list "network" "locality" "gateways" "import" "forget" "routing" "health" -}}
{{- with get $v $name }}{{ $_ := set $c $name . }}{{ end -}}
{{- end -}}
{{- $source := dict "kubernetes" dict -}}
{{- if ne $v.source.export "declared" }}{{ $_ := set $source "export" $v.source.export }}{{ end -}}
{{- $_ := set $c "source" $source -}}
{{- $gossip := dict "listen" "0.0.0.0:7946" "advertise" $v.gossip.advertise "siblings" (list (printf "isthmus-peers.%s.svc:7946" .Release.Namespace)) -}}
{{- with $v.gossip.join }}{{ $_ := set $gossip "join" . }}{{ end -}}
{{- $_ := set $c "gossip" $gossip -}}
{{- $_ := set $c "tls" (dict "cert" "/etc/isthmus-tls/tls.crt" "key" "/etc/isthmus-tls/tls.key" "ca" "/etc/isthmus-tls/ca.crt") -}}
{{- toYaml $c -}}
{{- end }}

{{- define "isthmus.corefile" -}}
{{- if .Values.agent.corefile -}}
{{ .Values.agent.corefile }}
{{- else -}}
.:53 {
    bufsize 1232
    errors
    ready :8181
    health :8080 {
        lameduck 8s
    }
    prometheus :9153
    isthmus {{ join " " .Values.agent.zones }} {
        watcher isthmus-watcher.{{ .Release.Namespace }}.svc:7946
        tls /etc/isthmus-tls/tls.crt /etc/isthmus-tls/tls.key /etc/isthmus-tls/ca.crt
        snapshot /var/lib/isthmus
    }
    forward . /etc/resolv.conf
}
{{ end -}}
{{- end }}

{{- define "veto.labels" -}}
app.kubernetes.io/name: veto
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}
{{- define "veto.name" -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- define "veto.check" -}}
{{- if not .Values.existingSecret }}{{ fail "existingSecret: nodes prove themselves with certificates; make them with `veto certs` and put them in a secret" }}{{ end -}}
{{- if not (has .Values.role (list "voter" "replica")) }}{{ fail "role: is neither voter nor replica" }}{{ end -}}
{{- if and (eq .Values.role "replica") (not .Values.join) }}{{ fail "join: replicas need the address of a node to follow" }}{{ end -}}
{{- if and (eq .Values.role "voter") (eq (mod (int .Values.replicas) 2) 0) }}{{ fail "replicas: voters are an odd number; 3 or 5 are usual" }}{{ end -}}
{{- if and (not .Values.httpSecret) (not .Values.insecureHTTP) }}{{ fail "httpSecret: operators' keys would travel in the clear; give a certificate, or set insecureHTTP" }}{{ end -}}
{{- end -}}
{{- define "veto.config" -}}
{{- $join := .Values.join -}}
{{- if or (gt (int .Values.replicas) 1) (eq .Values.role "replica") -}}
{{- range $i := until (int .Values.replicas) -}}
{{- $join = append $join (printf "%s-%d.%s-nodes.%s.svc" (include "veto.name" $) $i (include "veto.name" $) $.Release.Namespace) -}}
{{- end -}}
{{- end -}}
{{- $c := dict "data_dir" "/var/lib/veto" "certs_dir" "/etc/veto/certs" "role" .Values.role "bind" "0.0.0.0" "log_format" "json" -}}
{{- if $join }}{{ $_ := set $c "join" $join }}{{ end -}}
{{- if eq .Values.role "voter" }}{{ $_ := set $c "bootstrap_expect" (int .Values.replicas) }}{{ end -}}
{{- if .Values.region }}{{ $_ := set $c "region" .Values.region }}{{ end -}}
{{- if .Values.httpSecret }}{{ $_ := set $c "http_cert_file" "/etc/veto/http/tls.crt" }}{{ $_ := set $c "http_key_file" "/etc/veto/http/tls.key" }}{{ end -}}
{{- if .Values.insecureHTTP }}{{ $_ := set $c "insecure_http" true }}{{ end -}}
{{- if .Values.pepperSecret }}{{ $_ := set $c "pepper_key_file" "/etc/veto/pepper/pepper.key" }}{{ end -}}
{{- mergeOverwrite $c .Values.config | toYaml -}}
{{- end -}}

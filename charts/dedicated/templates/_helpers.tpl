{{- define "dedicated.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end -}}
{{- end -}}

{{- define "dedicated.labels" -}}
app.kubernetes.io/name: dedicated
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: dedicated
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end -}}

{{- define "dedicated.operator.selector" -}}
app.kubernetes.io/name: dedicated
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "dedicated.gateway.selector" -}}
app.kubernetes.io/name: dedicated
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: gateway
{{- end -}}

{{- define "dedicated.gateway.env" -}}
- name: DEDICATED_IDENTITY
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: DEDICATED_SYSTEM_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- name: DEDICATED_ACTIVITY_NAMESPACE
  value: {{ .Values.gateway.activityNamespace }}
- name: DEDICATED_POD_CIDRS
  value: {{ join "," .Values.gateway.podCidrs | quote }}
{{- if .Values.gateway.tls.secretName }}
- name: DEDICATED_TLS_DIR
  value: /etc/dedicated/tls
{{- end }}
- name: DEDICATED_TRUSTED_HOPS
  value: {{ .Values.gateway.trustedHops | quote }}
- name: DEDICATED_CORS_ORIGINS
  value: {{ join "," .Values.gateway.corsOrigins | quote }}
- name: DEDICATED_MAX_BODY_BYTES
  value: {{ .Values.gateway.limits.bodyBytes | int64 | quote }}
- name: DEDICATED_MAX_UPLOAD_BYTES
  value: {{ .Values.gateway.limits.uploadBytes | int64 | quote }}
- name: DEDICATED_MAX_CONNECTIONS
  value: {{ .Values.gateway.limits.connections | int64 | quote }}
- name: DEDICATED_MAX_HEAP_BYTES
  value: {{ .Values.gateway.limits.heapBytes | int64 | quote }}
- name: DEDICATED_ENVOY_THREADS
  value: {{ .Values.gateway.threads | quote }}
- name: DEDICATED_RENEWAL_SECONDS
  value: {{ .Values.operator.renewalSeconds | quote }}
- name: DEDICATED_DRAIN_SECONDS
  value: {{ .Values.gateway.drainSeconds | quote }}
{{- with .Values.gateway.sessions }}
{{- if or .jwksUrl .jwksConfigMap }}
- name: DEDICATED_SESSION_ISSUER
  value: {{ required "gateway.sessions.issuer is needed with a key set" .issuer | quote }}
- name: DEDICATED_SESSION_AUDIENCE
  value: {{ required "gateway.sessions.audience is needed with a key set" .audience | quote }}
- name: DEDICATED_SESSION_JWKS
  value: {{ .jwksUrl | default "/etc/dedicated/jwks/jwks.json" | quote }}
{{- end }}
{{- end }}
- name: DEDICATED_LOG_LEVEL
  value: {{ .Values.gateway.logLevel }}
{{- end -}}

{{- define "dedicated.weights.env" -}}
{{- with .Values.weights.s3 }}
{{- if .bucket }}
- name: DEDICATED_S3_BUCKET
  value: {{ .bucket | quote }}
{{- if .prefix }}
- name: DEDICATED_S3_PREFIX
  value: {{ .prefix | quote }}
{{- end }}
{{- if .endpoint }}
- name: DEDICATED_S3_ENDPOINT
  value: {{ .endpoint | quote }}
{{- end }}
{{- if .region }}
- name: DEDICATED_S3_REGION
  value: {{ .region | quote }}
{{- end }}
{{- if .pathStyle }}
- name: DEDICATED_S3_PATH_STYLE
  value: "true"
{{- end }}
{{- if .caBundle }}
- name: DEDICATED_S3_CA_BUNDLE
  value: {{ .caBundle | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "dedicated.gateway.url" -}}
{{- $gateway := .Values.gateway -}}
{{- if $gateway.url -}}
{{ $gateway.url }}
{{- else if and $gateway.enabled $gateway.ingress.enabled $gateway.ingress.host -}}
{{ ternary "https" "http" (ne $gateway.ingress.tlsSecretName "") }}://{{ $gateway.ingress.host }}
{{- else if and $gateway.enabled $gateway.httpRoute.enabled $gateway.httpRoute.hostnames -}}
https://{{ first $gateway.httpRoute.hostnames }}
{{- end -}}
{{- end -}}

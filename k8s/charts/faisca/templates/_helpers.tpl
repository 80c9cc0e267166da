{{- define "faisca.labels" -}}
app.kubernetes.io/name: faisca
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "faisca.selector" -}}
app.kubernetes.io/name: faisca
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "faisca.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- /* The namespaces of applications, as JSON: by default the release's. */ -}}
{{- define "faisca.jobNamespaces" -}}
{{ .Values.jobNamespaces | default (list (dict "name" .Release.Namespace)) | toJson }}
{{- end }}

{{- /* Rights of the operator in the namespaces of applications. `finalizers` is needed where the admission plugin
       OwnerReferencesPermissionEnforcement is enabled: the operator sets owner references, but no finalizers. */ -}}
{{- define "faisca.operatorRules" -}}
- apiGroups: [faisca.dev]
  resources: [sparkapplications, scheduledsparkapplications]
  verbs: [get, list, watch, create, update, patch, delete]
- apiGroups: [faisca.dev]
  resources: [sparkapplications/status, scheduledsparkapplications/status, sparkapplications/finalizers, scheduledsparkapplications/finalizers]
  verbs: [get, update, patch]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, create, delete, deletecollection]
- apiGroups: [""]
  resources: [secrets]
  verbs: [create]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}

{{- define "meshproxy.name" -}}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name) (contains .Chart.Name .Release.Name) | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "meshproxy.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (ternary (include "meshproxy.name" .) "default" .Values.serviceAccount.create) }}
{{- end }}

{{- define "meshproxy.labels" -}}
{{ include "meshproxy.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: meshproxy
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "meshproxy.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- /* What a pod of the gateway and one of a node have in common; (dict "root" . "config" NAME "resources" R "ports" LIST) */}}
{{- define "meshproxy.pod" -}}
serviceAccountName: {{ include "meshproxy.serviceAccount" .root }}
automountServiceAccountToken: false
terminationGracePeriodSeconds: {{ .root.Values.terminationGracePeriodSeconds }}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 1500
  runAsGroup: 1500
  fsGroup: 1500
  seccompProfile: {type: RuntimeDefault}
containers:
  - name: meshproxy
    image: "{{ .root.Values.image.repository }}:{{ .root.Values.image.tag | default .root.Chart.AppVersion }}"
    imagePullPolicy: {{ .root.Values.image.pullPolicy }}
    ports:
      {{- toYaml .ports | nindent 6 }}
      - {name: status, containerPort: 15020}
    startupProbe: {httpGet: {path: /ready, port: status}, periodSeconds: 1, failureThreshold: 60}
    readinessProbe: {httpGet: {path: /ready, port: status}, periodSeconds: 2}
    livenessProbe: {httpGet: {path: /live, port: status}, periodSeconds: 10}
    resources: {{- toYaml .resources | nindent 6 }}
    securityContext:
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities: {drop: [ALL]}
    volumeMounts:
      - {name: config, mountPath: /etc/meshproxy, readOnly: true}
      - {name: state, mountPath: /var/lib/meshproxy}
volumes:
  - {name: config, configMap: {name: {{ .config }}}}
  - {name: state, emptyDir: {sizeLimit: 64Mi}}
{{- end }}

#!/usr/bin/env bash
# Holds the files of deploy/ to the schemas of those who read them: Kubernetes, Compose, systemd, Grafana, Prometheus. What a
# machine cannot look at is told with SKIPPED.
#
# usage: tests/observe/manifests.sh [TMP]      (needs Python 3 with pip; systemd-analyze and promtool where there are any)
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../deploy"
tmp=${1:-$(mktemp -d)}
mkdir -p "$tmp"
failed=0
# check NAME COMMAND...
check() {
  local name=$1
  shift
  if "$@" >"$tmp/log" 2>&1; then echo "ok      $name"; else failed=$((failed + 1)); echo "FAILED  $name"; tail -n 10 "$tmp/log" | sed 's/^/    /'; fi
}
skipped() { echo "SKIPPED: $*"; }

python=$tmp/venv/bin/python
pins=(kubernetes-validate==1.37.0 check-jsonschema==0.39.0 'grafana-foundation-sdk==1769699998!10.1.0' PyYAML==6.0.3)
if python3 -m venv "$tmp/venv" >"$tmp/log" 2>&1 && "$python" -m pip install -q "${pins[@]}" >"$tmp/log" 2>&1; then
  # An overlay's patch is a part of a resource, and the kinds of KEDA and kustomize have no schema in Kubernetes.
  while read -r file; do
    check "$file for Kubernetes" "$tmp/venv/bin/kubernetes-validate" --strict -k 1.31 "$file"
  done < <(grep -rlE '^kind:' k8s/base --include='*.yaml' | grep -v kustomization | sort)
  if command -v kubectl >/dev/null; then
    for overlay in k8s/overlays/*; do
      check "$overlay is rendered" bash -c 'kubectl kustomize "$1" >"$2"' - "$overlay" "$tmp/rendered.yaml"
      check "$overlay for Kubernetes, as it is rendered" "$tmp/venv/bin/kubernetes-validate" --strict -k 1.31 "$tmp/rendered.yaml"
    done
    kubectl kustomize k8s/overlays/gpu >"$tmp/gpu.yaml"
    check 'the GPU overlay brings its workers what their image lacks, and leaves the API alone' "$python" - "$tmp/gpu.yaml" <<'END'
import sys, yaml
pods = {d['metadata']['name']: d['spec']['template']['spec'] for d in yaml.safe_load_all(open(sys.argv[1])) if d['kind'] == 'Deployment'}
api, worker = pods['rollcall-api'], pods['rollcall-worker']
assert [c['image'] for c in api['containers']] == ['rollcall:0.1.0'] and 'initContainers' not in api, api
assert [c['name'] for c in worker['initContainers']] == ['runtime', 'bundle']
writable = {v['name'] for v in worker['volumes'] if 'emptyDir' in v}
for container in worker['initContainers'] + worker['containers']:
    assert container['image'] == 'rollcall:0.1.0-cuda', container
    assert container['securityContext']['readOnlyRootFilesystem'], container
    mounts = {m['mountPath']: m['name'] for m in container['volumeMounts']}
    assert mounts['/var/lib/rollcall'] == 'home' and set(mounts.values()) <= writable, mounts
limits = worker['containers'][0]['resources']['limits']
assert limits['cpu'] and limits['memory'] and limits['nvidia.com/gpu'], limits
END
  else
    skipped 'rendering of overlays: no kubectl'
  fi
  check 'compose.yaml' "$tmp/venv/bin/check-jsonschema" --builtin-schema vendor.compose-spec compose.yaml
  check 'compose.yaml passes on no variable that is empty' bash -c '! grep -E ":-\}" compose.yaml'
  check 'every YAML file is YAML, and what kustomizations name is there' "$python" - <<'END'
import pathlib, yaml
for path in pathlib.Path('.').rglob('*.yaml'):
    documents = [document for document in yaml.safe_load_all(path.read_text()) if document]
    assert documents, path
    for document in documents:
        if document.get('kind') != 'Kustomization':
            continue
        named = document['resources'] + [patch['path'] for patch in document.get('patches', [])]
        for name in named:
            assert (path.parent / name).exists(), (path, name)
        assert all(image['name'] == 'rollcall' for image in document.get('images', []))
for path in pathlib.Path('k8s/overlays').glob('keda-*/scaled-object.yaml'):
    scaled = [d for d in yaml.safe_load_all(path.read_text()) if d['kind'] == 'ScaledObject'][0]['spec']
    assert scaled['scaleTargetRef']['name'] == 'rollcall-worker', path
    for trigger in scaled['triggers']:
        wanted = {'prometheus': {'serverAddress', 'query', 'threshold'}, 'rabbitmq': {'queueName', 'mode', 'value'}}
        assert wanted[trigger['type']] <= set(trigger['metadata']), (path, trigger)
        assert all(isinstance(value, str) for value in trigger['metadata'].values()), (path, trigger)
END
  check 'the dashboard, by the types that Grafana generates' "$python" - <<'END'
import json
from grafana_foundation_sdk.models.dashboard import Dashboard
dashboard = Dashboard.from_json(json.load(open('grafana/rollcall.json')))
targets = [target for panel in dashboard.panels for target in getattr(panel, 'targets', None) or []]
assert dashboard.uid == 'rollcall' and len(targets) > 20, len(targets)
END
else
  skipped "schemas of Kubernetes, Compose and Grafana: ${pins[*]} cannot be installed"
fi

if command -v systemd-analyze >/dev/null; then
  for unit in systemd/*; do
    # The programs and the manual are not installed here.
    check "$unit" bash -c '! systemd-analyze verify "$1" 2>&1 | grep -vE "is not executable|man rollcall"' - "$unit"
  done
  for unit in worker serve spot scale; do
    # 10 is a unit without any hardening; systemd calls up to 5 "ok".
    check "rollcall-$unit.service is hardened" systemd-analyze security --offline=true --threshold=45 "systemd/rollcall-$unit.service"
    grep -o 'Overall exposure.*: [0-9.]*' "$tmp/log" | sed 's/^/    /'
  done
else
  skipped 'systemd units: no systemd-analyze'
fi

promtool=${PROMTOOL:-$(command -v promtool || true)}
[[ -x $promtool ]] || promtool=
if [[ -n $promtool ]]; then
  check 'alert rules' "$promtool" check rules alerts/rollcall.yaml
  check 'alert rules do what they say' bash -c 'cd alerts && "$1" test rules rollcall.test.yaml' - "$promtool"
  check 'prometheus.yaml' "$promtool" check config --syntax-only prometheus/prometheus.yaml
else
  skipped 'alert rules: no promtool (tests/observe/prometheus.sh fetches one)'
fi
exit $((failed > 0))

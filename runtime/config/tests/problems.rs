//! What an author is told: the exact lines for each kind of mistake.

use sidegate_config::{Source, parse};

fn report(text: &str) -> String {
    let text = text.strip_prefix('\n').unwrap_or(text);
    match parse(&[Source { path: "c.yaml".into(), text: text.to_owned() }]) {
        Ok(loaded) => loaded.warnings.to_string(),
        Err(problems) => problems.to_string(),
    }
}

#[track_caller]
fn says(text: &str, expected: &str) {
    assert_eq!(report(text), expected.trim(), "\nfor:\n{text}");
}

/// A configuration without warnings, to which the cases add their mistake.
const LISTENER: &str = "listeners: [{name: in, address: 127.0.0.1:8080}]\n";

#[test]
fn a_whole_configuration_with_every_kind_of_mistake_is_told_at_once() {
    says(
        r#"
node: {id: 7, metadata: [1]}
admin:
  address: localhost:15000
workers: 0
drain: {minimum: 30s, timeot: 25s}
overload: {memory: 90}
plugins:
- name: hello
  url: hello.wasm
  sha256: 1ef0
  limits: {cpuPerCall: 10, memory: 32MB, logRate: 100, pause: 0s}
- name: hello
  url: file:other.wasm
  failStrategy: FAIL_CLOSED
  hooks: [on_request_header]
  capabilities: [proxy_http_cal, steer]
listeners:
- name: in
  address: 127.0.0.1:8080
  pathNormalization: merge_slashes
  requestTimeouts: {headers: 0s}
  filters:
  - pluginn: hello
  - plugin: hello
    match: [{uri: {prefx: /api}, port: 70000}, {uri: {regex: "("}}]
  cluster: aap
- name: in
  address: "127.0.0.1:8080"
clusters:
- name: app
  endpoints:
  - {address: app.example.com:80, weight: 0}
  - address: 10.0.0.1
"#,
        r#"
c.yaml:1:12: expected a string, found the number 7 (node.id); put it in quotes: "7"
c.yaml:1:25: expected a map, found a list (node.metadata)
c.yaml:3:12: expected IP:port, "[v6]:port" or unix:PATH, found the string "localhost:15000" (admin.address); write 127.0.0.1:15000
c.yaml:4:10: must be at least 1 (workers)
c.yaml:5:18: minimum 30s is longer than timeout 25s (drain.minimum)
c.yaml:5:23: unknown key "timeot" (drain.timeot); did you mean "timeout"?
c.yaml:6:20: expected a share from 1% to 100%, found the number 90 (overload.memory)
c.yaml:9:8: expected builtin:NAME, file:PATH or a URL, found the string "hello.wasm" (plugins[0].url); write file:hello.wasm
c.yaml:10:11: a SHA-256 digest has 64 hex digits; this has 4 characters (plugins[0].sha256)
c.yaml:11:24: expected a duration such as 1.5s, 250ms, 1h2m or 0s, at most 8760h, found the number 10 (plugins[0].limits.cpuPerCall); add a unit: 10s
c.yaml:11:36: expected a size such as 32Mi, 64Ki, 1Gi or a plain number of bytes, found the string "32MB" (plugins[0].limits.memory)
c.yaml:11:51: expected a rate such as 100/s, found the number 100 (plugins[0].limits.logRate)
c.yaml:11:63: must be more than 0 (plugins[0].limits.pause)
c.yaml:12:9: plugin "hello" is given twice, first in c.yaml:8:9 (plugins[1].name)
c.yaml:14:17: expected FAIL_CLOSE, FAIL_OPEN or FAIL_RELOAD, found the string "FAIL_CLOSED" (plugins[1].failStrategy); did you mean "FAIL_CLOSE"?
c.yaml:15:11: unknown hook "on_request_header" (plugins[1].hooks[0]); did you mean "proxy_on_request_headers"?
c.yaml:16:18: unknown capability "proxy_http_cal" (plugins[1].capabilities[0]); did you mean "proxy_http_call"?
c.yaml:20:22: expected NONE, BASE, MERGE_SLASHES or DECODE_AND_MERGE_SLASHES, found the string "merge_slashes" (listeners[0].pathNormalization); did you mean "MERGE_SLASHES"?
c.yaml:21:30: must be more than 0 (listeners[0].requestTimeouts.headers)
c.yaml:23:5: unknown key "pluginn" (listeners[0].filters[0].pluginn); did you mean "plugin"?
c.yaml:23:5: missing key "plugin" (listeners[0].filters[0])
c.yaml:25:20: unknown key "prefx" (listeners[0].filters[1].match[0].uri.prefx); did you mean "prefix"?
c.yaml:25:40: expected a whole number from 0 to 65535, found the number 70000 (listeners[0].filters[1].match[0].port)
c.yaml:25:62: invalid regular expression: unclosed group at character 1 (listeners[0].filters[1].match[1].uri.regex)
c.yaml:26:12: no cluster is named "aap" (listeners[0].cluster); did you mean "app"?
c.yaml:27:9: listener "in" is given twice, first in c.yaml:18:9 (listeners[1].name)
c.yaml:28:12: address 127.0.0.1:8080 is given twice, first in c.yaml:19:12 (listeners[1].address)
c.yaml:32:15: expected IP:port, "[v6]:port" or unix:PATH, found the string "app.example.com:80" (clusters[0].endpoints[0].address)
c.yaml:32:43: must be more than 0 (clusters[0].endpoints[0].weight)
c.yaml:33:14: expected IP:port, "[v6]:port" or unix:PATH, found the string "10.0.0.1" (clusters[0].endpoints[1].address); add a port
"#,
    );
}

#[test]
fn what_is_not_built_yet_is_refused_by_name_and_by_place() {
    says(
        r#"
outboundTrafficPolicy: {mode: REGISTRY_ONLY}
plugins:
- {name: a, url: "https://example.com/a.wasm", signature: {publicKey: k}}
- {name: b, url: oci://example.com/b}
listeners:
- name: in
  address: 127.0.0.1:8080
  protocol: HTTPS
  originalDst: true
  proxyProtocol: true
  tls: {mode: SIMPLE}
  sniRoutes: [{sniHosts: [a], cluster: b}]
clusters:
- name: c
  resolution: DNS
  endpoints: [{address: 127.0.0.1:1}]
  healthChecks: [{type: HTTP}]
  trafficPolicy:
    loadBalancer: {consistentHash: {useSourceIp: true}, localityLbSetting: {}}
    outlierDetection: {}
    tls: {mode: SIMPLE}
    retryBudget: {percent: 20}
  subsets:
  - name: v1
    trafficPolicy: {outlierDetection: {interval: 1s}}
"#,
        r#"
c.yaml:1:31: mode REGISTRY_ONLY is not supported yet (outboundTrafficPolicy.mode)
c.yaml:4:18: url oci:// is not supported yet (plugins[1].url)
c.yaml:8:13: protocol HTTPS is not supported yet (listeners[0].protocol)
c.yaml:9:3: originalDst is not supported yet (listeners[0].originalDst)
c.yaml:10:3: proxyProtocol is not supported yet (listeners[0].proxyProtocol)
c.yaml:11:3: tls is not supported yet (listeners[0].tls)
c.yaml:12:3: sniRoutes is not supported yet (listeners[0].sniRoutes)
c.yaml:15:15: resolution DNS is not supported yet (clusters[0].resolution)
c.yaml:17:3: healthChecks is not supported yet (clusters[0].healthChecks)
c.yaml:19:20: consistentHash is not supported yet (clusters[0].trafficPolicy.loadBalancer.consistentHash)
c.yaml:19:57: localityLbSetting is not supported yet (clusters[0].trafficPolicy.loadBalancer.localityLbSetting)
c.yaml:20:5: outlierDetection is not supported yet (clusters[0].trafficPolicy.outlierDetection)
c.yaml:21:5: tls is not supported yet (clusters[0].trafficPolicy.tls)
c.yaml:22:5: retryBudget is not supported yet (clusters[0].trafficPolicy.retryBudget)
c.yaml:25:21: outlierDetection is not supported yet (clusters[0].subsets[0].trafficPolicy.outlierDetection)
"#,
    );
}

#[test]
fn what_asks_for_nothing_that_is_missing_is_accepted() {
    says(
        r#"
apiVersion: sidegate.io/v1alpha1
extensionProviders: []
outboundTrafficPolicy: {mode: ALLOW_ANY}
drain:
plugins: [{name: a, url: "builtin:auth", rollout: null}]
listeners: [{name: in, address: "[::1]:1", originalDst: false, proxyProtocol: false, sniRoutes: [], tls: }]
clusters: [{name: c, resolution: STATIC, endpoints: [{address: "unix:x"}], healthChecks: [], trafficPolicy: {}}]
"#,
        "",
    );
}

#[test]
fn text_that_is_no_yaml_is_told_with_its_place() {
    let broken = report("listeners:\n- name: [a\nclusters: []\n");
    assert!(broken.starts_with("c.yaml:3:") && !broken.contains('\n'), "{broken}");
    says(
        "a: 1\n---\nb: 2\n",
        "c.yaml:2:1: a second YAML document in one file; put each document into a file of its own and name their folder",
    );
    says(
        "drain:\n  minimum: 1s\n  minimum: 2s\n",
        "c.yaml:3:3: key \"minimum\" is given twice, first in line 2 (drain.minimum); keep one of them",
    );
    says("[1]", "c.yaml:1:1: expected a map with keys such as \"listeners\", found a list");
    says("# nothing\n", "c.yaml:1:1: the file is empty; write {} for a configuration without anything");
    says("{}\n", "c.yaml:1:1: warning: no listeners, so nothing will be served");
}

#[test]
fn keys_of_other_kinds_and_tags_are_told() {
    says(
        "node:\n  ? [a]\n  : b\n  <<: {id: x}\n  id: !!int x\n  cluster: !mine y\n",
        r#"
c.yaml:2:5: a list or map as a key (node); keys are words
c.yaml:4:3: merge keys (<<) are not part of YAML 1.2 (node["<<"]); write the keys out, or use an alias for the whole value
c.yaml:5:13: "x" is no !!int (node.id)
c.yaml:6:18: the tag !mine has no meaning here (node.cluster); leave it out
"#,
    );
}

#[test]
fn plugins_have_whole_environments() {
    says(
        &format!(
            "{LISTENER}plugins:\n- name: a b\n  url: 'file:'\n  vmConfig:\n    env:\n    - {{name: A, value: 1}}\n    \
             - {{name: A, value: x}}\n    - {{name: B}}\n    - {{name: C, value: x, valueFrom: HOST}}\n    - {{name: D=, valueFrom: host}}\n"
        ),
        r#"
c.yaml:3:9: a name must not contain spaces or control characters (plugins[0].name)
c.yaml:4:8: expected builtin:NAME, file:PATH or a URL, found the string "file:" (plugins[0].url)
c.yaml:7:24: expected a string, found the number 1 (plugins[0].vmConfig.env[0].value); put it in quotes: "1"
c.yaml:8:14: environment variable "A" is given twice, first in c.yaml:7:14 (plugins[0].vmConfig.env[1].name)
c.yaml:9:7: missing key "value" (plugins[0].vmConfig.env[2]); add a value, or valueFrom: HOST
c.yaml:10:7: a value beside valueFrom: HOST (plugins[0].vmConfig.env[3]); keep one of them
c.yaml:11:14: the name of an environment variable must not be empty or contain = (plugins[0].vmConfig.env[4].name)
c.yaml:11:29: expected INLINE or HOST, found the string "host" (plugins[0].vmConfig.env[4].valueFrom); did you mean "HOST"?
"#,
    );
    says(
        &format!(
            "{LISTENER}plugins:\n- name: a\n  url: builtin:auth\n  vmConfig: {{env: [{{name: A, value: x}}, {{name: A, value: y}}]}}\n"
        ),
        "c.yaml:5:48: environment variable \"A\" is given twice, first in c.yaml:5:27 (plugins[0].vmConfig.env[1].name)",
    );
}

#[test]
fn a_host_leads_to_one_cluster() {
    says(
        &format!(
            "{LISTENER}clusters:\n- {{name: a, hosts: [x.example, a], endpoints: [{{address: 127.0.0.1:1}}]}}\n\
             - {{name: b, hosts: [X.example, a], endpoints: [{{address: 127.0.0.1:1}}, {{address: 127.0.0.1:1}}]}}\n"
        ),
        r#"
c.yaml:4:21: host "X.example" leads to a cluster already, first in c.yaml:3:21 (clusters[1].hosts[0])
c.yaml:4:32: host "a" leads to a cluster already, first in c.yaml:3:10 (clusters[1].hosts[1])
c.yaml:4:82: endpoint 127.0.0.1:1 is given twice, first in c.yaml:4:58 (clusters[1].endpoints[1].address)
"#,
    );
}

#[test]
fn what_is_hardly_meant_is_a_warning() {
    says(
        "clusters:\n- name: a\n- name: b\n  endpoints: [{address: 127.0.0.1:1, labels: {version: v1}}]\n  subsets: [{name: v2, labels: {version: v2}}]\n",
        r#"
c.yaml:1:1: warning: no listeners, so nothing will be served
c.yaml:2:3: warning: no endpoints, so every request to this cluster is answered with 503 (clusters[0])
c.yaml:5:13: warning: no endpoint has the labels of subset "v2" (clusters[1].subsets[0])
"#,
    );
}

#[test]
fn an_infinite_number_in_a_filter_configuration_has_no_json() {
    says(
        "listeners:\n- name: in\n  address: 127.0.0.1:1\n  filters:\n  - plugin: a\n    config: {limit: .inf}\n",
        "c.yaml:6:21: no JSON number can hold this value (listeners[0].filters[0].config); put it in quotes to pass it as a string",
    );
}

#[test]
fn long_keys_and_values_are_shortened() {
    let key = "k".repeat(5000);
    let problems = report(&format!("node:\n  id: [\n  ? {key}\n  : {{a: 1, a: 2}}\n  ]\nworkers: {key}\n"));
    assert!(problems.lines().count() >= 2 && problems.len() < 1000, "{problems}");
}

//! What a configuration means: defaults, and every key with a value that differs from its default.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test stops at what it does not expect")]

use std::{path::PathBuf, time::Duration};

use sidegate_config::{
    Address, ClusterProtocol, Config, Direction, FailStrategy, PathNormalization, Percent, PluginUrl, Rate, SimpleLb,
    Size, Source, ValueFrom, parse, schema,
};

fn config(text: &str) -> Config {
    match parse(&[Source { path: "/etc/sidegate/c.yaml".into(), text: text.to_owned() }]) {
        Ok(loaded) => loaded.config,
        Err(problems) => panic!("{problems}"),
    }
}

#[test]
fn defaults_are_the_documented_ones() {
    let config = config(
        "plugins: [{name: p, url: 'file:p.wasm'}]\n\
         listeners: [{name: l, address: 127.0.0.1:1, filters: [{plugin: p}]}]\n\
         clusters: [{name: c, endpoints: [{address: 127.0.0.1:2}], subsets: [{name: s}]}]\n",
    );
    assert_eq!(config.admin.address, Address::parse("127.0.0.1:15000").unwrap());
    assert_eq!((config.admin.token_file, config.admin.probe_address), (None, None));
    assert_eq!((config.workers, config.state_dir), (None, None));
    assert_eq!((config.drain.minimum, config.drain.timeout), (Duration::from_secs(5), Duration::from_secs(25)));
    assert_eq!((config.overload.max_connections, config.overload.memory), (0, Percent(90)));

    let plugin = &config.plugins[0];
    assert_eq!(plugin.url, PluginUrl::File("/etc/sidegate/p.wasm".into()));
    assert_eq!(plugin.location.to_string(), "/etc/sidegate/c.yaml:1:11");
    assert_eq!((plugin.root_id.as_str(), plugin.fail_strategy, &plugin.sha256), ("", None, &None));
    assert_eq!((&plugin.vm_config.vm_id, &plugin.vm_config.configuration), (&None, &None));
    let limits = &plugin.limits;
    assert_eq!((limits.cpu_per_call, limits.configure), (Duration::from_millis(10), Duration::from_secs(1)));
    assert_eq!((limits.memory, limits.pause, limits.body), (Size(32 << 20), Duration::from_secs(5), Size(1 << 20)));
    assert_eq!((limits.callouts, limits.shared_data, limits.series), (8, Size(1 << 20), 1000));
    assert_eq!(limits.log_rate, Rate(100));

    let listener = &config.listeners[0];
    assert_eq!((listener.direction, listener.num_trusted_proxies), (Direction::Inbound, 0));
    assert_eq!(
        (listener.upgrades.clone(), listener.path_normalization),
        (vec!["websocket".to_owned()], PathNormalization::MergeSlashes)
    );
    let timeouts = &listener.request_timeouts;
    assert_eq!(timeouts.headers, Duration::from_secs(10));
    assert_eq!((timeouts.idle, timeouts.body), (Duration::from_secs(60), Duration::from_secs(60)));
    assert_eq!((listener.max_request_headers, &listener.cluster), (Size(64 << 10), &None));
    let entry = &listener.filters[0];
    assert_eq!((entry.name.as_str(), entry.matches.len(), entry.config.bytes()), ("p", 0, None));

    let cluster = &config.clusters[0];
    assert_eq!((cluster.protocol, cluster.endpoints[0].weight), (ClusterProtocol::Http, 1));
    assert_eq!(cluster.traffic_policy.load_balancer, None);
    let (tcp, http) = (&cluster.traffic_policy.connection_pool.tcp, &cluster.traffic_policy.connection_pool.http);
    assert_eq!((tcp.max_connections, tcp.connect_timeout), (1024, Duration::from_secs(10)));
    assert_eq!(tcp.idle_timeout, Duration::from_secs(60));
    assert_eq!((http.http1_max_pending_requests, http.http2_max_requests, http.max_retries), (1024, 1024, 3));
    assert_eq!((http.max_requests_per_connection, http.max_concurrent_streams), (0, 100));
}

#[test]
fn every_key_reaches_its_field() {
    let config = config(
        r#"
apiVersion: sidegate.io/v1alpha1
node: {id: app-1, cluster: shop, locality: eu/a, metadata: {LABELS: {app: a}, N: 18446744073709551615}}
admin: {address: "unix:/run/admin.sock", tokenFile: token, probeAddress: 0.0.0.0:15021}
workers: 2
stateDir: /var/lib/sidegate
drain: {minimum: 0s, timeout: 1m}
overload: {maxConnections: 7, memory: 80%}
plugins:
- name: hello
  url: file:///opt/hello.wasm
  sha256: ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789
  rootId: r
  vmConfig: {vmId: v, configuration: {a: 1}, env: [{name: A, value: x}, {name: B, valueFrom: HOST}]}
  allowOnHeadersStopIteration: true
  hooks: [on_log, proxy_on_request_headers]
  capabilities: [proxy_http_call, steer]
  failStrategy: FAIL_RELOAD
  limits: {cpuPerCall: 1ms, configure: 2s, memory: 64Mi, pause: 1m, body: 2Mi, callouts: 1, sharedData: 0, series: 5, logRate: 1/s}
- {name: fault, url: "builtin:fault"}
- {name: short, url: "builtin:fault", limits: {pause: 1s}}
- {name: routes, url: "builtin:router"}
listeners:
- name: out
  address: "[::1]:8080"
  direction: OUTBOUND
  numTrustedProxies: 2
  upgrades: [WebSocket, tailscale]
  pathNormalization: NONE
  requestTimeouts: {headers: 1s, idle: 2s, body: 3s}
  maxRequestHeaders: 96Ki
  cluster: c
  filters: [{name: greet, plugin: hello, match: [{uri: {prefix: /api}, headers: {x-a: {exact: b}, x-p: {}}}]}]
clusters:
- name: c
  hosts: [c.example]
  endpoints: [{address: "127.0.0.1:1", labels: {version: v1}, weight: 3, locality: eu/a}]
  protocol: GRPC
  trafficPolicy:
    loadBalancer: {simple: ROUND_ROBIN}
    connectionPool: {tcp: {maxConnections: 1, connectTimeout: 2s, idleTimeout: 3s}, http: {maxRetries: 0, idleTimeout: 4s}}
  subsets:
  - {name: v1, labels: {version: v1}, trafficPolicy: {loadBalancer: {simple: RANDOM}}}
"#,
    );
    assert_eq!(config.node.metadata["N"], u64::MAX);
    assert_eq!(config.admin.address, Address::Unix("/run/admin.sock".into()));
    assert_eq!(config.admin.token_file, Some(PathBuf::from("/etc/sidegate/token")));
    assert_eq!(config.admin.probe_address.unwrap().to_string(), "0.0.0.0:15021");
    assert_eq!(config.workers.unwrap().get(), 2);
    assert_eq!((config.drain.minimum, config.drain.timeout), (Duration::ZERO, Duration::from_secs(60)));
    assert_eq!((config.overload.max_connections, config.overload.memory), (7, Percent(80)));

    let plugin = &config.plugins[0];
    assert_eq!(plugin.url, PluginUrl::File("/opt/hello.wasm".into()));
    assert!(plugin.sha256.as_deref().unwrap().starts_with("abcdef"));
    assert_eq!((plugin.root_id.as_str(), plugin.vm_config.vm_id.as_deref()), ("r", Some("v")));
    assert_eq!(&*plugin.vm_config.configuration.as_ref().unwrap().0, br#"{"a":1}"#);
    assert_eq!(plugin.vm_config.env[1].value_from, ValueFrom::Host);
    assert!(plugin.allow_on_headers_stop_iteration);
    assert_eq!(plugin.hooks, ["proxy_on_log", "proxy_on_request_headers"]);
    assert_eq!(plugin.capabilities, ["proxy_http_call", "steer"]);
    assert_eq!(plugin.fail_strategy, Some(FailStrategy::Reload));
    assert_eq!((plugin.limits.pause, plugin.limits.log_rate), (Duration::from_secs(60), Rate(1)));
    // The fault filter's work is to make requests wait.
    assert_eq!(config.plugins[1].limits.pause, Duration::from_secs(600));
    assert_eq!(config.plugins[2].limits.pause, Duration::from_secs(1));
    assert_eq!(config.plugins[3].limits.pause, Duration::from_secs(600));

    let listener = &config.listeners[0];
    assert_eq!((listener.direction, listener.num_trusted_proxies), (Direction::Outbound, 2));
    assert_eq!(listener.upgrades, ["websocket", "tailscale"]);
    assert_eq!((listener.path_normalization, listener.max_request_headers), (PathNormalization::None, Size(96 << 10)));
    assert_eq!((listener.filters[0].name.as_str(), listener.filters[0].matches.len()), ("greet", 1));
    assert_eq!(listener.filters[0].matches[0].headers.len(), 2);

    let cluster = &config.clusters[0];
    assert_eq!((cluster.protocol, cluster.endpoints[0].weight), (ClusterProtocol::Http2, 3));
    let subset = &cluster.subsets[0].traffic_policy;
    assert_eq!(subset.load_balancer.as_ref().unwrap().simple, SimpleLb::Random);
    // A section that the subset leaves out is the cluster's.
    assert_eq!(subset.connection_pool, cluster.traffic_policy.connection_pool);
    assert_eq!(subset.connection_pool.tcp.max_connections, 1);
}

/// The whole language as its documentation shows it, without the parts that are not supported yet.
#[test]
fn the_documented_example_is_accepted() {
    let loaded = parse(&[Source { path: "c.yaml".into(), text: EXAMPLE.to_owned() }]);
    let loaded = loaded.unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(loaded.warnings.to_string(), "");
    let router = &loaded.config.listeners[0].filters[2];
    let bytes = String::from_utf8(router.config.bytes().unwrap().to_vec()).unwrap();
    assert!(bytes.starts_with(r#"{"virtualServices":[{"hosts":["*"],"http":[{"match":"#), "{bytes}");
    assert_eq!(router.config.locate("/virtualServices/0/http/0/route/1/weight").0.line, 41);
}

const EXAMPLE: &str = r#"apiVersion: sidegate.io/v1alpha1
node: {id: app-1, cluster: shop, locality: eu/a, metadata: {NAMESPACE: shop, LABELS: {app: app, version: v1}}}
admin:
  address: 127.0.0.1:15000
  tokenFile: /run/secrets/token
  probeAddress: 0.0.0.0:15021
workers: 2
stateDir: /var/lib/sidegate
drain: {minimum: 5s, timeout: 25s}
overload: {maxConnections: 0, memory: 90%}
extensionProviders: []
outboundTrafficPolicy: {mode: ALLOW_ANY}
plugins:
- name: hello
  url: file:hello.wasm
  rootId: ""
  vmConfig: {vmId: hello, configuration: "", env: [{name: REGION, value: eu}, {name: POD_NAME, valueFrom: HOST}]}
  limits: {cpuPerCall: 10ms, configure: 1s, memory: 32Mi, pause: 5s, body: 1Mi, callouts: 8, sharedData: 1Mi}
listeners:
- name: inbound
  address: 127.0.0.1:8080
  protocol: HTTP
  upgrades: [websocket]
  maxRequestHeaders: 64Ki
  filters:
  - plugin: telemetry
  - name: greet
    plugin: hello
    match: [{uri: {prefix: /api}}]
    config: {greeting: hi}
  - plugin: router
    config:
      virtualServices:
      - hosts: ["*"]
        http:
        - match: [{uri: {prefix: /reviews}}]
          route:
          - destination: {host: reviews, subset: v1}
            weight: 95
          - destination: {host: reviews, subset: v2}
            weight: 5
  cluster: reviews
clusters:
- name: reviews
  hosts: [reviews.default.svc.cluster.local]
  resolution: STATIC
  endpoints:
  - {address: "127.0.0.1:9001", labels: {version: v1}, weight: 1, locality: eu/a}
  - {address: "127.0.0.1:9002", labels: {version: v2}}
  subsets: [{name: v1, labels: {version: v1}, trafficPolicy: {}}, {name: v2, labels: {version: v2}}]
  protocol: HTTP
  trafficPolicy: {}
"#;

#[test]
fn anchors_and_json_are_read_too() {
    let config = config("drain: {minimum: &t 7s, timeout: *t}\nlisteners: []\n");
    assert_eq!(config.drain.minimum, config.drain.timeout);
    let config = self::config("{\"drain\": {\"minimum\": \"1s\"},\n\t\"workers\": 3}");
    assert_eq!(config.workers.unwrap().get(), 3);
}

#[test]
fn the_schema_tells_what_the_model_says() {
    let schema = schema();
    let admin = &schema["properties"]["admin"];
    assert_eq!(admin["additionalProperties"], false);
    assert!(admin["properties"]["tokenFile"]["description"].as_str().unwrap().contains("bearer token"));
    let listener = &schema["properties"]["listeners"]["items"];
    assert_eq!(listener["required"], serde_json::json!(["name", "address"]));
    assert_eq!(listener["properties"]["direction"]["enum"], serde_json::json!(["INBOUND", "OUTBOUND"]));
    let matches = &listener["properties"]["filters"]["items"]["properties"]["match"]["items"];
    let reference = matches["$ref"].as_str().unwrap().trim_start_matches('#');
    assert!(schema.pointer(reference).unwrap()["properties"]["uri"].is_object(), "{reference}");
}

#[test]
fn a_rollout() {
    let text = |rollout: &str| format!("plugins: [{{name: p, url: 'file:p.wasm', rollout: {rollout}}}]\n");
    let rollout = config(&text("{steps: [{weight: 5, hold: 10s}, {weight: 50.5}]}")).plugins.remove(0).rollout.unwrap();
    let steps: Vec<_> = rollout.steps.iter().map(|step| (step.weight.0, step.hold.as_secs())).collect();
    assert_eq!(steps, [(5.0, 10), (50.5, 60)]);
    assert_eq!((rollout.min_requests, &rollout.sticky_by), (200, &None));
    let bad = &rollout.abort_on;
    assert_eq!((bad.fault_rate.0, bad.local_reply_5xx_rate.0, bad.p99_latency_increase.0), (0.1, 1.0, 20.0));
    let rollout = config(&text(
        "{steps: [{weight: 1}], stickyBy: {header: x-user}, minRequests: 10, \
         abortOn: {faultRate: 2, localReply5xxRate: 3, p99LatencyIncrease: 400}}",
    ));
    let rollout = rollout.plugins[0].rollout.clone().unwrap();
    assert_eq!((rollout.min_requests, rollout.sticky_by.unwrap().header.as_str()), (10, "x-user"));
    assert_eq!(rollout.abort_on.p99_latency_increase.0, 400.0);
    for (bad, why) in [
        ("{}", "steps"),
        ("{steps: []}", "a rollout needs a step"),
        ("{steps: [{weight: 50}, {weight: 5}]}", "must rise"),
        ("{steps: [{weight: 0}]}", "more than 0"),
        ("{steps: [{weight: 100}]}", "less than 100"),
        ("{steps: [{weight: 5%}]}", "write 5"),
        ("{steps: [{weight: 5}], stickyBy: {header: 'x y'}}", "not a header name"),
    ] {
        let source = Source { path: "/c.yaml".into(), text: text(bad) };
        let problems = parse(&[source]).unwrap_err().to_string();
        assert!(problems.contains(why), "{bad}: {problems}");
    }
}

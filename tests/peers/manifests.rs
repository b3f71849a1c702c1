//! The manifests in `deploy/kubernetes`, held against the schemas of Kubernetes.

use std::path::Path;
use std::process::Command;

use crate::installed::installed;

/// The oldest version that runs a sidecar as one (deploy/README.md), and the newest whose schemas the program has.
const VERSIONS: [&str; 2] = ["1.29", "1.37"];

#[test]
fn manifests_are_what_kubernetes_takes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kubernetes");
    let manifests: Vec<_> = ["deployment.yaml", "service.yaml"].map(|name| folder.join(name)).into();
    for version in VERSIONS {
        let program = installed("SIDEGATE_PEERS_PYTHON").join("kubernetes/bin/kubernetes-validate");
        let run = Command::new(program).args(["--strict", "-k", version]).args(&manifests).output().unwrap();
        let said = String::from_utf8_lossy(&run.stderr) + String::from_utf8_lossy(&run.stdout);
        assert!(run.status.success(), "{said}");
        for kind in ["secret/", "deployment/", "service/"] {
            assert!(said.contains(&format!("passed for resource {kind}")), "{version}: no {kind} in {said}");
        }
    }
}

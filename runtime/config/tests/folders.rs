//! Files and folders of files.
#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

use std::{fs, path::Path};

use sidegate_config::{Source, load, parse};
use tempfile::tempdir;

fn write(folder: &Path, name: &str, text: impl AsRef<[u8]>) {
    fs::write(folder.join(name), text).unwrap();
}

#[test]
fn the_files_of_a_folder_are_one_configuration_in_the_order_of_their_names() {
    let folder = tempdir().unwrap();
    write(folder.path(), "20-b.yml", "apiVersion: sidegate.io/v1alpha1\nclusters: [{name: b}]\nplugins:\n");
    write(folder.path(), "10-a.yaml", "apiVersion: sidegate.io/v1alpha1\nworkers: 2\nclusters: [{name: a}]\n");
    write(folder.path(), "30.json", "{\"plugins\": [{\"name\": \"p\", \"url\": \"file:p.wasm\"}]}");
    write(folder.path(), ".hidden.yaml", "nonsense: true");
    write(folder.path(), "README.md", "not yaml: [");
    fs::create_dir(folder.path().join("deep.yaml")).unwrap();

    let loaded = load(folder.path()).unwrap();
    let names: Vec<_> = loaded.config.clusters.iter().map(|cluster| cluster.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(loaded.config.plugins[0].url, sidegate_config::PluginUrl::File(folder.path().join("p.wasm")));
    assert_eq!(loaded.files.len(), 3);
    assert!(loaded.files[0].ends_with("10-a.yaml"));
}

#[test]
fn problems_name_both_files() {
    let sources = [
        Source { path: "a.yaml".into(), text: "workers: 1\nclusters: [{name: x}]\n".into() },
        Source { path: "b.yaml".into(), text: "\nworkers: 1\nclusters: [{name: x}]\ndrain: {}\n".into() },
        Source { path: "c.yaml".into(), text: "drain: {}\nlisteners: {}\n".into() },
        Source { path: "d.yaml".into(), text: "listeners: []\n".into() },
    ];
    let problems = parse(&sources).unwrap_err();
    let errors: Vec<_> = problems.iter().map(ToString::to_string).filter(|line| !line.contains("warning")).collect();
    assert_eq!(
        errors,
        [
            "b.yaml:2:1: key \"workers\" is given twice, first in a.yaml:1:1 (workers); keep one of them",
            "b.yaml:3:19: cluster \"x\" is given twice, first in a.yaml:2:19 (clusters[1].name)",
            "c.yaml:1:1: key \"drain\" is given twice, first in b.yaml:4:1 (drain); keep one of them",
            "c.yaml:2:12: expected a list, found a map (listeners)",
            "d.yaml:1:1: key \"listeners\" is given twice, first in c.yaml:2:1 (listeners); keep one of them",
        ]
    );
}

#[test]
fn what_cannot_be_read_is_told() {
    let folder = tempdir().unwrap();
    let problem = |path: &Path| load(path).unwrap_err().to_string().replace(folder.path().to_str().unwrap(), "DIR");
    assert_eq!(problem(folder.path()), "DIR:1:1: cannot be read: no *.yaml, *.yml or *.json file in this folder");
    let missing = problem(&folder.path().join("none.yaml"));
    assert!(missing.starts_with("DIR/none.yaml:1:1: cannot be read: No such file"), "{missing}");
    write(folder.path(), "latin.yaml", b"a: b\nc: \xe9\n");
    assert_eq!(problem(&folder.path().join("latin.yaml")), "DIR/latin.yaml:2:4: this byte is not UTF-8");
    // One bad file does not hide the problems of another.
    write(folder.path(), "other.yaml", "a: [\n");
    assert_eq!(load(folder.path()).unwrap_err().0.len(), 2);
}

#[test]
fn a_configmap_volume_is_read_once() {
    let folder = tempdir().unwrap();
    let version = folder.path().join("..2026_01_01");
    fs::create_dir(&version).unwrap();
    write(&version, "c.yaml", "workers: 4\n");
    std::os::unix::fs::symlink("..2026_01_01", folder.path().join("..data")).unwrap();
    std::os::unix::fs::symlink("..data/c.yaml", folder.path().join("c.yaml")).unwrap();
    assert_eq!(load(folder.path()).unwrap().config.workers.unwrap().get(), 4);
}

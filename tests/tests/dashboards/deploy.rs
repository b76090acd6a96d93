//! The manifests of `deploy/kubernetes`: by the published schemas of Kubernetes and the Prometheus operator, and names that point at
//! each other.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use anyhow::{Context as _, Result, ensure};
use ficus_tests::school;
use tempfile::NamedTempFile;

use crate::shell::docs;

/// The operator's schemas, which take long to make.
static MONITORS: LazyLock<Result<NamedTempFile>> = LazyLock::new(|| {
    let printed = Command::new(school::python()?).arg(docs().join("../deploy/kubernetes/monitors.py")).output()?;
    ensure!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
    let mut file = NamedTempFile::new()?;
    file.write_all(&printed.stdout)?;
    Ok(file)
});

/// What the check says of a folder; `None`: nothing.
fn faults(folder: &Path) -> Result<Option<String>> {
    let mut check = Command::new(school::python()?);
    let monitors = MONITORS.as_ref().map_err(|failed| anyhow::anyhow!("{failed}"))?;
    let ended =
        check.arg("-B").arg(docs().join("../deploy/kubernetes/check.py")).arg("--monitors").arg(monitors.path()).arg(folder).output()?;
    let said = format!("{}{}", String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    Ok((!ended.status.success()).then_some(said))
}

#[test]
fn the_manifests_are_valid_and_agree() -> Result<()> {
    let found = faults(&docs().join("../deploy/kubernetes"))?;
    ensure!(found.is_none(), "run `make python-test` if something is missing: {found:?}");
    Ok(())
}

#[test]
fn the_check_of_the_manifests_finds_what_is_wrong() -> Result<()> {
    let faulty = [
        ("gateway.yaml", "replicas: 3", "replicas: three", "spec.replicas"),
        ("gateway.yaml", "maxUnavailable: 1", "maxUnavailble: 1", "maxUnavailble"),
        (
            "gateway.yaml",
            "readinessProbe: {httpGet: {path: /ready, port: admin}",
            "readinessProbe: {httpGet: {path: /ready, port: other}",
            "asks a port",
        ),
        ("gateway.yaml", "targetPort: http", "targetPort: web", "no pod offers web"),
        ("gateway.yaml", "configMap: {name: ficus-gateway}", "configMap: {name: ficus-gatewy}", "no map ficus-gatewy"),
        ("gateway.yaml", "- {name: databases, mountPath: /run/secrets/databases, readOnly: true}", "", "mounted are"),
        ("agent.yaml", "allowPrivilegeEscalation: false, ", "", "more than it needs"),
        ("agent.yaml", "serviceAccountName: ficus", "serviceAccountName: nobody", "no such account"),
        ("orchestrator.yaml", "serviceName: ficus-orchestrator", "serviceName: elsewhere", "no service elsewhere"),
        ("orchestrator.yaml", "  clusterIP: None\n", "", "make it headless"),
        ("orchestrator.yaml", "  publishNotReadyAddresses: true\n", "", "make it headless"),
        ("orchestrator.yaml", "$(POD_NAME).ficus-orchestrator:7070", "ficus-orchestrator:7070", "not the pod's own address"),
        ("orchestrator.yaml", "fieldPath: metadata.name", "fieldPath: metadata.uid", "not the pod's own address"),
        ("orchestrator.yaml", "replicas: 1", "replicas: 2", "--admin is not"),
        ("agent.yaml", "ficus-orchestrator-0.ficus-orchestrator:7070", "ficus-orchestrator:7070", "--admin is not"),
        ("rbac.yaml", "verbs: [get, update, patch]", "verbs: get", "verbs"),
        ("rbac.yaml", "  kind: Role\n  name: ficus-rules", "  kind: Role\n  name: other", "points at nobody"),
        ("network.yaml", "component: agent}}", "component: agents}}", "about no pod"),
        ("monitoring.yaml", "interval: 15s", "interval: often", "often"),
        ("monitoring.yaml", "interval: 15s", "intervals: 15s", "intervals"),
        ("monitoring.yaml", "interval: 15s", "sampleLimit: many", "sampleLimit"),
        ("monitoring.yaml", "interval: 15s", "scheme: ftp", "spec.endpoints.0.scheme"),
        ("monitoring.yaml", "key: prometheus}", "keys: prometheus}", "spec.endpoints.0.authorization.credentials"),
        ("monitoring.yaml", "  jobLabel:", "  jobLabels:", "jobLabels"),
        ("monitoring.yaml", "port: admin", "port: 7070", "spec.endpoints.0.port"),
        ("monitoring.yaml", "port: admin", "port: other", "no such port"),
        ("monitoring.yaml", "matchLabels: {app.kubernetes.io/name: ficus}", "matchLabels: {app.kubernetes.io/name: figs}", "sees []"),
        ("kustomization.yaml", "  - network.yaml\n", "", "nobody names network.yaml"),
        ("kustomization.yaml", "  - network.yaml\n", "  - networks.yaml\n", "no file networks.yaml"),
        ("kustomization.yaml", "  - network.yaml\n", "  - rbac.yaml\n", "has non-unique elements"),
        ("kustomization.yaml", "config/agent.toml", "config/agents.toml", "no file config/agents.toml"),
        ("kustomization.yaml", "[config/rules/users.toml]", "[config/rules/users.toml, users.toml=config/gateway.toml]", "under one key"),
        ("kustomization.yaml", "[config/rules/users.toml]", "[ficus.toml=config/agent.toml]", "nobody names config/rules/users.toml"),
        ("kustomization.yaml", "disableNameSuffixHash", "disableNamesuffixHash", "disableNamesuffixHash"),
        ("kustomization.yaml", "configMapGenerator:", "configMapGenerators:", "configMapGenerator"),
        ("kustomization.yaml", "v1beta1", "v1beta2", "apiVersion"),
        ("kustomization.yaml", "namespace: ficus\n", "namespace: figs\n", "no namespace figs is made"),
        (
            "kustomization.yaml",
            "options: {",
            "options: {}\n  - name: spare\n    files: [config/agent.toml]\n    options: {",
            "nobody mounts spare",
        ),
        ("rbac.yaml", "kind: RoleBinding", "kind: Role", "there are 2"),
    ];
    let source = docs().join("../deploy/kubernetes");
    for (file, right, wrong, expected) in faulty {
        let directory = tempfile::tempdir()?;
        copy(&source, directory.path())?;
        let path = directory.path().join(file);
        let text = std::fs::read_to_string(&path)?;
        ensure!(text.contains(right), "{file} has no {right}");
        std::fs::write(&path, text.replacen(right, wrong, 1))?;
        let found = faults(directory.path())?.with_context(|| format!("{wrong:?} in {file} is not found"))?;
        ensure!(found.contains(expected), "for {wrong:?} in {file}: {found}");
    }
    Ok(())
}

/// As deploy/README.md says it; each of its steps is missed.
#[test]
fn several_orchestrators_share_an_etcd_and_are_asked_one_by_one() -> Result<()> {
    const ONE: &str = "http://ficus-orchestrator-0.ficus-orchestrator:7070";
    let both = format!("{ONE},{}", ONE.replace("-0.", "-1."));
    let steps = [
        ("config/orchestrator.toml", "#[orchestrator.etcd]\n#endpoints", "[orchestrator.etcd]\nendpoints", "no [orchestrator.etcd]"),
        ("orchestrator.yaml", "replicas: 1", "replicas: 2", "--admin is not"),
        ("gateway.yaml", ONE, &both, "StatefulSet ficus-gateway: --admin is not"),
        ("agent.yaml", ONE, &both, "Deployment ficus-agent: --admin is not"),
    ];
    let readme = std::fs::read_to_string(docs().join("../deploy/README.md"))?;
    ensure!(readme.contains(&both), "deploy/README.md says what --admin is then");
    for missed in [None, Some(0), Some(1), Some(2), Some(3)] {
        let directory = tempfile::tempdir()?;
        copy(&docs().join("../deploy/kubernetes"), directory.path())?;
        for (at, (file, one, several, _)) in steps.iter().enumerate().filter(|(at, _)| Some(*at) != missed) {
            let text = std::fs::read_to_string(directory.path().join(file))?;
            ensure!(text.contains(one), "step {at}: {file} has no {one}");
            std::fs::write(directory.path().join(file), text.replacen(one, several, 1))?;
        }
        let found = faults(directory.path())?;
        match missed {
            None => ensure!(found.is_none(), "{found:?}"),
            Some(at) => ensure!(found.as_ref().is_some_and(|found| found.contains(steps[at].3)), "without step {at}: {found:?}"),
        }
    }
    Ok(())
}

/// Copies the folder.
fn copy(from: &Path, to: &Path) -> Result<()> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            std::fs::create_dir_all(&target)?;
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

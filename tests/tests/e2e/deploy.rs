//! What the manifests of `deploy/kubernetes` start: the same command lines, configurations, variables and secrets, with the folders of a
//! container in a directory; asked what their probes ask.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ficus_tests::http::Http;
use ficus_tests::operator::Operator;
use ficus_tests::process::{Process, free_port};
use ficus_tests::school;
use serde_json::Value;

use super::Directory;

const PATIENCE: Duration = Duration::from_secs(120);

/// Ports of the manifests, and those that stand for them here.
struct Ports(BTreeMap<&'static str, u16>);

impl Ports {
    fn new() -> Result<Ports> {
        let named = ["8080", "7070", "7071", "7072"].into_iter().map(|port| Ok((port, free_port()?)));
        Ok(Ports(named.collect::<Result<_>>()?))
    }

    /// The text, with addresses of a cluster made those of this machine.
    fn here(&self, text: &str) -> String {
        let text = text.replace("ficus-orchestrator-0.ficus-orchestrator:", "127.0.0.1:").replace("0.0.0.0:", "127.0.0.1:");
        self.0.iter().fold(text, |text, (there, here)| text.replace(&format!(":{there}"), &format!(":{here}")))
    }
}

fn manifests() -> Result<(PathBuf, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kubernetes");
    let printed = Command::new(school::python()?).arg("-B").arg(folder.join("check.py")).arg("--objects").output()?;
    let objects = serde_json::from_slice(&printed.stdout).context("run `make python-test` if something is missing")?;
    Ok((folder, objects))
}

/// A container's file system: what its volumes hold, below a folder of the test.
fn mount(root: &Path, folder: &Path, objects: &Value, pod: &Value, container: &Value, ports: &Ports) -> Result<()> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    for mounted in list(&container["volumeMounts"]) {
        let path = root.join(mounted["mountPath"].as_str().context("a path")?.trim_start_matches('/'));
        let volume = list(&pod["volumes"]).into_iter().find(|volume| volume["name"] == mounted["name"]);
        if let Some(map) = volume.as_ref().and_then(|volume| volume["configMap"]["name"].as_str()) {
            std::fs::create_dir_all(&path)?;
            let maps = list(&objects["kustomization"]["configMapGenerator"]);
            let map = maps.iter().find(|one| one["name"] == map).context("a generated map")?;
            for file in list(&map["files"]) {
                let file = file.as_str().context("a file")?;
                let (name, source) = file.split_once('=').unwrap_or((file.rsplit('/').next().unwrap_or(file), file));
                let text = std::fs::read_to_string(folder.join(source))?;
                let text = ["/run/secrets", "/var/lib/ficus", "/etc/ficus-rules"].iter().fold(ports.here(&text), |text, there| {
                    let here = root.join(there.trim_start_matches('/'));
                    text.replace(there, &here.display().to_string())
                });
                std::fs::write(path.join(name), text)?;
            }
        } else if let Some(secret) = volume.as_ref().and_then(|volume| volume["secret"].as_object()) {
            let name = secret["secretName"].as_str().context("a name")?;
            let all: &[&str] = match name {
                "ficus-tokens" => &["admin", "fleet", "prometheus"],
                "ficus-databases" => &["legacy", "modern", "sessions", "django-secret-key"],
                "ficus-keys" => &["marker.key", "token.key"],
                other => anyhow::bail!("deploy/README.md makes no secret {other}"),
            };
            let chosen = secret.get("items").map_or_else(Vec::new, list);
            let wanted = |key: &str| chosen.is_empty() || chosen.iter().any(|item| item["key"] == key);
            let content =
                |key: &str| if name == "ficus-keys" { vec![7; 32] } else { format!("the secret {key} of 32 bytes or more").into_bytes() };
            if let Some(key) = mounted["subPath"].as_str() {
                std::fs::create_dir_all(path.parent().context("a folder")?)?;
                std::fs::write(&path, content(key))?;
                continue;
            }
            std::fs::create_dir_all(&path)?;
            for key in all.iter().filter(|key| wanted(key)) {
                std::fs::write(path.join(key), content(key))?;
            }
        } else {
            std::fs::create_dir_all(&path)?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_parts_start_as_the_manifests_say_and_their_probes_are_answered() -> Result<()> {
    let directory = Directory::new();
    let (folder, objects) = manifests()?;
    let ports = Ports::new()?;
    let mut running = Vec::new();
    let mut probed = 0;
    for component in ["orchestrator", "agent", "gateway"] {
        let workload = objects["items"]
            .as_array()
            .context("objects")?
            .iter()
            .find(|item| item["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/component"] == component);
        let pod = &workload.with_context(|| format!("no workload {component}"))?["spec"]["template"]["spec"];
        let container = &pod["containers"][0];
        let root = directory.path().join(component);
        mount(&root, &folder, &objects, pod, container, &ports)?;
        let mut command = Command::new(school::binary("ficus")?);
        for argument in container["args"].as_array().context("arguments")? {
            command.arg(ports.here(argument.as_str().context("text")?));
        }
        for variable in container["env"].as_array().context("variables")? {
            let from_pod = variable["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name";
            let pod = format!("ficus-{component}-1");
            let value = if from_pod { &pod } else { variable["value"].as_str().context("a value")? };
            // As Kubernetes does it with variables that are named before.
            let value = value.replace("$(POD_NAME)", &pod);
            command.env(variable["name"].as_str().context("a name")?, value);
        }
        command.current_dir(root.join("etc/ficus"));
        running.push(Process::start(component, &mut command, &directory.path().join(format!("{component}.log")))?);
        let admin = container["ports"].as_array().context("ports")?.iter().find(|port| port["name"] == "admin").context("admin")?;
        let port = ports.here(&format!(":{}", admin["containerPort"]));
        let base = format!("http://127.0.0.1{port}");
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            let Some(path) = container[probe]["httpGet"]["path"].as_str() else { continue };
            let up = school::until_up(&base, path).await;
            up.with_context(|| format!("{component} {path}: {}", running.last().map(Process::log).unwrap_or_default()))?;
            probed += 1;
        }
        let metrics =
            Http::new(&base, PATIENCE).saying("authorization", "Bearer the secret prometheus of 32 bytes or more").get("/metrics").await?;
        ensure!(metrics.status.is_success(), "{component}: metrics {}", metrics.status);
        let stranger = Http::new(&base, PATIENCE).get("/metrics").await?;
        ensure!(stranger.status.as_u16() == 401, "{component}: metrics for everybody: {}", stranger.status);
    }
    ensure!(probed == 8, "{probed} probes");

    let config = directory.path().join("orchestrator/etc/ficus/ficus.toml");
    let operator = Operator::new(&config, &ports.here("http://127.0.0.1:7070"))?;
    let status: Value = serde_json::from_str(&operator.type_in(&["status", "--json"]).await?)?;
    ensure!(status["gateways"].to_string().contains("ficus-gateway-1"), "the gateway goes by its pod's name: {}", status["gateways"]);
    ensure!(status["capabilities"]["users"]["phase"] == "draft", "{status}");
    for mut part in running.into_iter().rev() {
        let ended = part.end(PATIENCE)?;
        ensure!(ended.success(), "{}: {ended}: {}", part.name(), part.log());
    }
    directory.passed();
    Ok(())
}

//! The container file, read as a builder reads it: no image is built here, but every instruction is one, every stage, file, path and
//! command in it exists, and what comes of it is what the manifests start.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use ficus_tests::school;

use crate::shell::docs;

/// What a builder knows, of what is used here or might be.
const INSTRUCTIONS: [&str; 15] = [
    "FROM",
    "ARG",
    "ENV",
    "RUN",
    "WORKDIR",
    "COPY",
    "USER",
    "VOLUME",
    "EXPOSE",
    "STOPSIGNAL",
    "ENTRYPOINT",
    "CMD",
    "LABEL",
    "SHELL",
    "HEALTHCHECK",
];

/// Shared libraries that `debian:bookworm-slim` has.
const LIBRARIES: [&str; 6] =
    ["linux-vdso.so.1", "libgcc_s.so.1", "libm.so.6", "libc.so.6", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"];

struct Stage {
    base: String,
    name: Option<String>,
    instructions: Vec<(String, String)>,
}

impl Stage {
    fn all(&self, instruction: &str) -> impl Iterator<Item = &str> {
        self.instructions.iter().filter(move |(name, _)| name == instruction).map(|(_, said)| said.as_str())
    }

    /// The only one of them.
    fn one(&self, instruction: &str) -> Result<&str> {
        let all: Vec<&str> = self.all(instruction).collect();
        let [one] = all[..] else { bail!("{instruction} stands there {} times", all.len()) };
        Ok(one)
    }

    /// The commands of its `RUN`s, in words.
    fn commands(&self) -> Vec<Vec<&str>> {
        self.all("RUN").flat_map(|said| said.split("&&")).map(|command| command.split_whitespace().collect()).collect()
    }
}

fn root() -> PathBuf {
    docs().join("..")
}

/// Comments and continued lines as the reference of Dockerfiles has them; everything else is refused.
fn parse(text: &str) -> Result<Vec<Stage>> {
    let mut stages: Vec<Stage> = Vec::new();
    let mut said = String::new();
    for line in text.lines().filter(|line| !line.trim_start().starts_with('#')) {
        if let Some(part) = line.strip_suffix('\\') {
            said.push_str(part);
            continue;
        }
        said.push_str(line);
        let whole = std::mem::take(&mut said);
        if whole.trim().is_empty() {
            continue;
        }
        let (name, rest) = whole.trim().split_once(char::is_whitespace).with_context(|| format!("{whole}: nothing is said"))?;
        ensure!(INSTRUCTIONS.contains(&name), "{name} is no instruction");
        let rest = rest.trim().to_owned();
        match (name, stages.last_mut()) {
            ("FROM", _) => {
                let words: Vec<&str> = rest.split_whitespace().collect();
                let stage = match words[..] {
                    [base] => Stage { base: base.to_owned(), name: None, instructions: vec![] },
                    [base, "AS", name] => Stage { base: base.to_owned(), name: Some(name.to_owned()), instructions: vec![] },
                    _ => bail!("FROM {rest}"),
                };
                stages.push(stage);
            }
            (_, Some(stage)) => stage.instructions.push((name.to_owned(), rest)),
            (_, None) => bail!("{name} before FROM"),
        }
    }
    ensure!(said.is_empty(), "the last line goes on");
    Ok(stages)
}

/// Words of `["like", "this"]`.
fn listed(said: &str) -> Result<Vec<String>> {
    serde_json::from_str(said).with_context(|| format!("{said} is no list of words: a shell would stand between"))
}

/// Everything that is wrong with it is an error.
fn check(text: &str) -> Result<()> {
    let stages = parse(text)?;
    let [build, image] = &stages[..] else { bail!("{} stages", stages.len()) };
    for stage in &stages {
        ensure!(stage.base.starts_with("docker.io/library/"), "{} may come from anywhere", stage.base);
        ensure!(stage.base.contains("bookworm"), "{} has other libraries than the other one", stage.base);
        for command in stage.commands() {
            let program = *command.first().context("an empty command")?;
            ensure!(["apt-get", "rm", "useradd", "install", "cargo"].contains(&program), "nobody knows that the image has `{program}`");
        }
    }
    // It is built from what is in the repository, with everything that a build needs.
    let sources = build.one("WORKDIR")?;
    ensure!(build.one("COPY")? == ". .", "not everything is copied");
    let ignored = std::fs::read_to_string(root().join(".containerignore"))?;
    ensure!(ignored == std::fs::read_to_string(root().join(".dockerignore"))?, "docker and podman ignore something else");
    let manifest = std::fs::read_to_string(root().join("Cargo.toml"))?;
    let manifest: toml::Table = manifest.parse()?;
    let members = manifest["workspace"]["members"].as_array().context("members")?;
    let needed = members.iter().filter_map(toml::Value::as_str).chain(["Cargo.toml", "Cargo.lock"]);
    for needed in needed {
        ensure!(root().join(needed).exists() && !ignored.lines().any(|line| line == needed), "no {needed} is copied");
    }
    let cargo: Vec<_> = build.commands().into_iter().filter(|command| command[0] == "cargo").collect();
    ensure!(cargo == [["cargo", "build", "--release", "--locked", "--bin", "ficus"]], "{cargo:?}");
    let packages = std::fs::read_to_string(root().join(".ci/packages"))?;
    let installed: BTreeSet<&str> = build.commands().into_iter().filter(|command| command[0] == "apt-get").flatten().collect();
    ensure!(installed.contains("cmake") && packages.contains("cmake)"), "what `.ci/packages` says that a build needs is not installed");

    // What is built is copied to where it is found, and runs there.
    let built = image.one("COPY")?;
    let name = build.name.as_deref().context("the first stage has no name")?;
    let binary = "/usr/local/bin/ficus";
    ensure!(built == format!("--from={name} {sources}/target/release/ficus {binary}"), "COPY {built}");
    let entry = listed(image.one("ENTRYPOINT")?)?;
    ensure!(Path::new(binary).file_name().is_some_and(|name| entry == [name.to_string_lossy()]), "ENTRYPOINT {entry:?} is not {binary}");
    let ficus = school::binary("ficus")?;
    let taken = Command::new(&ficus).args(listed(image.one("CMD")?)?).arg("--help").output()?;
    ensure!(taken.status.success(), "ficus does not take CMD: {}", String::from_utf8_lossy(&taken.stderr));
    let linked = Command::new("ldd").arg(&ficus).output()?;
    for line in String::from_utf8(linked.stdout)?.lines() {
        let library = line.split_whitespace().next().context("a library")?;
        let library = library.rsplit('/').next().unwrap_or(library);
        ensure!(LIBRARIES.contains(&library), "{library} is not in {}", image.base);
    }
    ensure!(image.commands().iter().any(|command| command.contains(&"ca-certificates")), "TLS has nobody to trust");
    ensure!(image.one("STOPSIGNAL")? == "SIGTERM", "requests under way do not finish");

    // The user is made, owns what is written to, and is the manifests' one.
    let (user, group) = image.one("USER")?.split_once(':').context("USER has a group")?;
    let commands = image.commands();
    let made = commands.iter().find(|command| command[0] == "useradd").context("no user is made")?;
    ensure!(made.windows(2).any(|two| two == ["--uid", user]) && user == group, "USER {user}:{group} is not who is made: {made:?}");
    let owned = commands.iter().find(|command| command[0] == "install").context("no folder is made")?;
    let (owner, workdir, state) = (made.last().context("a name")?, image.one("WORKDIR")?, image.one("VOLUME")?);
    for wanted in [owner, workdir, state] {
        ensure!(owned.contains(&wanted), "install {owned:?} says nothing of {wanted}");
    }
    let exposed: BTreeSet<&str> = image.one("EXPOSE")?.split_whitespace().collect();
    let mut ports = BTreeSet::new();
    for part in ["orchestrator", "agent", "gateway"] {
        let manifest = std::fs::read_to_string(root().join(format!("deploy/kubernetes/{part}.yaml")))?;
        ensure!(manifest.contains(&format!("runAsUser: {user}")), "{part} runs as somebody else than {user}");
        ensure!(manifest.contains(&format!("mountPath: {workdir}}}")), "{part} has its configuration elsewhere than {workdir}");
        ensure!(part != "orchestrator" || manifest.contains(&format!("mountPath: {state}}}")), "{part} writes elsewhere than {state}");
        let numbers = manifest.split("containerPort: ").skip(1).filter_map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next());
        ports.extend(numbers.map(str::to_owned));
    }
    ensure!(ports.iter().map(String::as_str).collect::<BTreeSet<_>>() == exposed, "EXPOSE {exposed:?}, and the manifests have {ports:?}");
    Ok(())
}

fn text() -> Result<String> {
    Ok(std::fs::read_to_string(root().join("deploy/container/Containerfile"))?)
}

#[test]
fn the_container_file_builds_what_the_manifests_start() -> Result<()> {
    check(&text()?)
}

#[test]
fn the_check_of_the_container_file_finds_what_is_wrong() -> Result<()> {
    let text = text()?;
    for (right, wrong, expected) in [
        ("WORKDIR /src", "WORKDIRS /src", "no instruction"),
        ("CMD [\"run\"]", "CMD [\"run\"] \\", "goes on"),
        ("AS build", "as-build", "FROM"),
        ("AS build", "AS builder", "COPY"),
        ("WORKDIR /src", "WORKDIR /source", "COPY"),
        ("COPY . .", "COPY rules .", "not everything"),
        ("COPY . .", "RUN make\nCOPY . .", "nobody knows"),
        ("cmake", "make", "not installed"),
        ("--locked ", "", "cargo"),
        ("debian:bookworm-slim", "debian:trixie-slim", "other libraries"),
        ("docker.io/library/debian", "debian", "from anywhere"),
        ("ENTRYPOINT [\"ficus\"]", "ENTRYPOINT ficus", "no list"),
        ("ENTRYPOINT [\"ficus\"]", "ENTRYPOINT [\"fig\"]", "ENTRYPOINT"),
        ("CMD [\"run\"]", "CMD [\"walk\"]", "does not take"),
        ("USER 10001:10001", "USER 10002:10002", "not who is made"),
        ("--uid 10001", "--uid 10002", "not who is made"),
        ("/etc/ficus /var/lib/ficus\n", "/etc/ficus\n", "says nothing of /var/lib/ficus"),
        ("WORKDIR /etc/ficus", "WORKDIR /etc", "says nothing of /etc"),
        ("EXPOSE 8080 7070", "EXPOSE 8080", "EXPOSE"),
        ("ca-certificates ", "", "nobody to trust"),
        ("STOPSIGNAL SIGTERM", "STOPSIGNAL SIGKILL", "do not finish"),
    ] {
        ensure!(text.contains(right), "it has no {right}");
        let found = check(&text.replacen(right, wrong, 1)).err().with_context(|| format!("{wrong:?} is not found"))?;
        ensure!(format!("{found:#}").contains(expected), "for {wrong:?}: {found:#}");
    }
    Ok(())
}

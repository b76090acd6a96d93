//! What a route says beside the side: roles, plugins, deadlines; and what no rule decides. Said before, met after.

use std::process::Command;

use anyhow::{Result, ensure};
use ficus_tests::bare::Bare;
use ficus_tests::origin::Origin;
use ficus_tests::school;

use super::super::Directory;

const RULES: &str = r#"[capability]
name = "users"
legacy = "monolith"
modern = "users-service"

[[route]]
path = "/users/{*rest}"
csrf = false
require = { role = "teacher" }
deadlines = { first_byte = "20s", total = "15m" }
[route.plugins.rate_limit]
quotas = ["2/h"]
by = "everybody"

[[route]]
path = "/old/{*rest}"
[route.plugins.redirect]
to = "/new/{rest}"

[[step]]
cutover = true
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roles_plugins_and_deadlines_are_told_and_met() -> Result<()> {
    let directory = Directory::new();
    let (monolith, service) = (Origin::start("monolith").await?, Origin::start("users-service").await?);
    let upstreams = [("monolith", monolith.port), ("users-service", service.port)];
    let bare = Bare::start(directory.path(), &upstreams, &[("users.toml", RULES)]).await?;
    let operator = bare.operator()?;

    let stranger = operator.type_in(&["explain", "GET", "/users/7"]).await?;
    for line in ["access      stranger: the gateway answers 401", "deadlines   first byte 20s, total 900s", "plugin      rate_limit:"] {
        ensure!(stranger.contains(line), "`{line}` is not in\n{stranger}");
    }
    let teacher = operator.type_in(&["explain", "GET", "/users/7", "--user", "1", "--role", "teacher"]).await?;
    ensure!(teacher.contains("access      granted") && teacher.contains("plugin      rate_limit:"), "{teacher}");
    let student = operator.type_in(&["explain", "GET", "/users/7", "--user", "1", "--role", "student"]).await?;
    ensure!(student.contains("the gateway answers 403"), "{student}");
    let moved = operator.type_in(&["explain", "GET", "/old/a/b"]).await?;
    ensure!(moved.contains("plugin      redirect:") && moved.contains("/new/a/b"), "{moved}");

    let http = bare.http();
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(http.get("/users/7").await?.status.as_u16());
    }
    ensure!(statuses == [401, 401, 429], "asking counted nothing, and what was told is met: {statuses:?}");
    let answer = http.get("/old/a/b").await?;
    ensure!(answer.status.is_redirection() && answer.header("location") == Some("/new/a/b"), "{} {:?}", answer.status, answer.headers);
    drop(bare);
    directory.passed();
    Ok(())
}

/// By the files alone: no gateway runs.
#[test]
fn what_the_gateway_answers_by_itself_is_told() -> Result<()> {
    let directory = tempfile::tempdir()?;
    std::fs::create_dir(directory.path().join("rules"))?;
    std::fs::write(directory.path().join("rules/users.toml"), RULES)?;
    let config = directory.path().join("ficus.toml");
    let text = "[gateway]\nlisten = [\"127.0.0.1:0\"]\ndefault = \"monolith\"\nhealth = \"/health\"\n\
                [upstream.monolith]\naddress = \"127.0.0.1:9\"\n[upstream.users-service]\naddress = \"127.0.0.1:9\"\n";
    std::fs::write(&config, text)?;
    let explained = |path: &str| -> Result<(bool, String)> {
        let output =
            Command::new(school::binary("ficus")?).arg("--config").arg(&config).args(["explain", "GET", path, "--offline"]).output()?;
        Ok((output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()))
    };
    let (served, told) = explained("/health")?;
    ensure!(!served && told.contains("the gateway answers this itself"), "{told}");
    let (served, told) = explained("/healthy")?;
    ensure!(served && told.contains("because     no_route"), "{told}");
    Ok(())
}

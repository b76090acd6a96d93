//! Whatever listens on the admin port, by every path that stands in the sources of those who serve there: without a token, with
//! a wrong one and with the weakest there is nothing but what is for everybody.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Result, ensure};
use ficus_tests::bare::Bare;
use ficus_tests::http::Http;
use ficus_tests::origin::Origin;
use hyper::{Method, StatusCode};

use super::Directory;

const TOKEN: &str = "the admin's token, which nobody else has";
const SECRET_NAME: &str = "ledger-of-secrets";
/// For everybody: whether it is well, keys that are public, and the console's files, which know nothing.
const OPEN: [&str; 6] = ["/health", "/ready", "/leader", "/.well-known/jwks.json", "/", "/console/{file}"];

/// Every path that is written down where routes are made.
fn paths() -> Result<BTreeSet<String>> {
    let (mut files, mut paths) = (Vec::new(), BTreeSet::new());
    let mut folders = vec!["orchestrator/src", "cli/src"].into_iter().map(|name| root().join(name)).collect::<Vec<_>>();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    for file in files {
        let text = std::fs::read_to_string(file)?;
        // Every other part is between quotation marks; what is torn apart by an escaped one begins with no slash.
        let words = text.split('"').filter(|word| word.starts_with('/') && !word.contains([' ', '\n', '\\']));
        paths.extend(words.map(str::to_owned));
    }
    Ok(paths)
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_path_of_the_admin_port_is_shut_to_strangers() -> Result<()> {
    let (directory, origin) = (Directory::new(), Origin::start("origin").await?);
    std::fs::create_dir_all(directory.path().join("secrets"))?;
    std::fs::write(directory.path().join("secrets/admin"), TOKEN)?;
    let rules = format!("[capability]\nname = \"{SECRET_NAME}\"\nlegacy = \"origin\"\nmodern = \"modern\"\n\n[[route]]\npath = \"/x/\"\n");
    let upstreams = [("origin", origin.port), ("modern", origin.port)];
    let bare = Bare::start_guarded(directory.path(), &upstreams, &[("it.toml", &rules)], "", &[]).await?;
    let paths = paths()?;
    for known in OPEN.iter().chain(&["/api/v1/status", "/api/v1/capabilities/{name}/{wish}", "/metrics", "/ofrep/v1/evaluate/flags"]) {
        ensure!(paths.contains(*known), "{known} is not among the paths: they are not found any more");
    }
    let stranger = Http::new(&bare.admin_url(), std::time::Duration::from_secs(120));
    let (mut asked, mut shut) = (0, 0);
    for path in &paths {
        let filled = path.replace("{name}", SECRET_NAME).replace("{wish}", "hold").replace("{file}", "console.js").replace("{key}", "x");
        if filled.parse::<hyper::Uri>().is_err() {
            continue;
        }
        for method in [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS] {
            for token in [None, Some("wrong"), Some(&TOKEN[1..])] {
                let held = token.map(|token| format!("Bearer {token}"));
                let mut headers = vec![("content-type", "application/json")];
                headers.extend(held.as_deref().map(|held| ("authorization", held)));
                let answer = stranger.send(method.clone(), &filled, &headers, "{}".into()).await?;
                asked += 1;
                let told = answer.text();
                ensure!(!told.contains(SECRET_NAME) && !told.contains(TOKEN), "{method} {path} with {token:?} tells {told}");
                shut += usize::from(answer.status == StatusCode::UNAUTHORIZED);
                let open = OPEN.contains(&path.as_str()) || answer.status.is_client_error();
                ensure!(open, "{method} {path} with {token:?} answers {}: {told}", answer.status);
            }
        }
    }
    ensure!(shut > 3 * 20, "only {shut} of {asked} were asked for a token");
    println!("{} paths, {asked} requests, {shut} asked for a token", paths.len());
    let operator = bare.operator()?;
    let journal = operator.type_in(&["journal", "--json"]).await?;
    ensure!(!journal.contains("\"hold\""), "a stranger did something: {journal}");
    drop(bare);
    directory.passed();
    Ok(())
}

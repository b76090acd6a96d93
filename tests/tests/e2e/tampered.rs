//! Whoever may write the keys of an etcd changes the journal in it, in every way that leaves it readable; `ficus journal --verify`
//! says where it does not fit any more. What it cannot notice by itself, a hash that was kept elsewhere finds.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ficus_tests::http::Http;
use ficus_tests::operator::Operator;
use ficus_tests::process::{Process, free_port};
use ficus_tests::school;
use hyper::Method;
use serde_json::{Value, json};

use super::Directory;
use super::etcd::EtcdServer;

const PATIENCE: Duration = Duration::from_secs(60);
const RULES: &str = "[capability]\nname = \"notes\"\nlegacy = \"old\"\nmodern = \"new\"\n\n[[route]]\npath = \"/notes/\"\n";
const BOOKS: &str = "ficus/books";

/// The keys, as etcd's own clients have them.
struct Keys(Http);

impl Keys {
    async fn ask(&self, what: &str, body: Value) -> Result<Value> {
        let answer = self.0.send(Method::POST, &format!("/v3/kv/{what}"), &[], body.to_string().into()).await?;
        ensure!(answer.status.is_success(), "{what}: {} {}", answer.status, answer.text());
        answer.json()
    }

    async fn get(&self, key: &str) -> Result<Value> {
        let found = self.ask("range", json!({ "key": STANDARD.encode(key) })).await?;
        let value = found["kvs"][0]["value"].as_str().with_context(|| format!("no {key}: {found}"))?;
        Ok(serde_json::from_slice(&STANDARD.decode(value)?)?)
    }

    async fn put(&self, key: &str, value: &Value) -> Result<()> {
        let body = json!({ "key": STANDARD.encode(key), "value": STANDARD.encode(value.to_string()) });
        self.ask("put", body).await.map(drop)
    }

    async fn delete(&self, key: &str) -> Result<()> {
        let deleted = self.ask("deleterange", json!({ "key": STANDARD.encode(key) })).await?;
        ensure!(deleted["deleted"] == "1", "there was no {key}: {deleted}");
        Ok(())
    }
}

fn entry(id: u64) -> String {
    format!("ficus/journal/{id:020}")
}

/// What was written of an entry, with something else in it.
fn but(entry: &Value, what: &str, value: Value) -> Value {
    let mut changed = entry.clone();
    changed[what] = value;
    changed
}

/// A change of the keys, and what is said of it.
struct Forgery<'a> {
    what: &'a str,
    put: Vec<(String, Value)>,
    deleted: Vec<String>,
    says: String,
}

async fn start(directory: &Directory, etcd: &EtcdServer) -> Result<(Process, Operator)> {
    let (port, folder) = (free_port()?, directory.path());
    std::fs::create_dir_all(folder.join("rules"))?;
    std::fs::write(folder.join("rules/notes.toml"), RULES)?;
    let config = format!(
        "[gateway]\ndefault = \"old\"\n\n[orchestrator]\nlisten = \"127.0.0.1:{port}\"\n\n\
         [orchestrator.etcd]\nendpoints = [\"{}\"]\n\n[upstream.old]\naddress = \"127.0.0.1:1\"\n\n[upstream.new]\naddress = \"127.0.0.1:2\"\n",
        etcd.url()
    );
    std::fs::write(folder.join("ficus.toml"), config)?;
    let mut command = Command::new(school::binary("ficus")?);
    command.args(["--config", "ficus.toml", "orchestrator"]).current_dir(folder);
    let process = Process::start("orchestrator", &mut command, &folder.join("orchestrator.log"))?;
    let url = format!("http://127.0.0.1:{port}");
    school::until_up(&url, "/leader").await.with_context(|| process.log())?;
    let operator = Operator::new(&folder.join("ficus.toml"), &url)?;
    Ok((process, operator))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_tampers_with_the_journal_in_etcd_is_found_out() -> Result<()> {
    let (directory, etcd) = (Directory::new(), EtcdServer::start());
    let (orchestrator, operator) = start(&directory, &etcd).await?;
    for reason in ["exams", "holidays", "the flood"] {
        operator.type_in(&["hold", "notes", "--reason", reason]).await?;
        operator.type_in(&["release", "notes", "--hold", reason]).await?;
    }
    let verify = ["journal", "--verify", "--json"];
    let head: Value = serde_json::from_str(&operator.type_in(&verify).await?)?;
    let last = head["id"].as_u64().filter(|last| *last >= 7).with_context(|| format!("too few entries: {head}"))?;
    let kept = format!("{last}:{}", head["hash"].as_str().context("a hash")?);
    operator.type_in(&["journal", "--verify", "--head", &kept]).await?;

    let keys = Keys(Http::new(&etcd.url(), PATIENCE));
    let mut written = Vec::new();
    for id in 1..=last {
        written.push((entry(id), keys.get(&entry(id)).await?));
    }
    let of = |id: u64| written[usize::try_from(id - 1).expect("small")].1.clone();
    let books = keys.get(BOOKS).await?;
    ensure!(books["journal"] == head, "the head is not where it is looked for: {books}");
    let held = (1..=last).find(|id| of(*id)["kind"] == "hold").context("somebody held it")?;
    let changed = |id: u64| format!("entry {id} is not what was written");
    let one = |id: u64, value: Value| vec![(entry(id), value)];
    let forgeries = [
        Forgery { what: "another name", put: one(held, but(&of(held), "by", json!("nobody"))), deleted: vec![], says: changed(held) },
        Forgery { what: "another time", put: one(held, but(&of(held), "at", json!(1))), deleted: vec![], says: changed(held) },
        Forgery {
            what: "another reason",
            put: one(held, but(&of(held), "detail", json!({ "hold": "a whim" }))),
            deleted: vec![],
            says: changed(held),
        },
        Forgery {
            what: "an entry is gone",
            put: vec![],
            deleted: vec![entry(4)],
            says: "entry 5 follows entry 3: what stood between them is gone".to_owned(),
        },
        Forgery { what: "the first is gone", put: vec![], deleted: vec![entry(1)], says: "entry 2 follows entry 0".to_owned() },
        Forgery {
            what: "one is gone, and the next ones close the gap",
            put: (4..last).map(|id| (entry(id), but(&of(id + 1), "id", json!(id)))).collect(),
            deleted: vec![entry(last)],
            says: changed(4),
        },
        Forgery {
            what: "two change places",
            put: vec![(entry(3), of(4)), (entry(4), of(3))],
            deleted: vec![],
            says: "entry 4 follows entry 2".to_owned(),
        },
        Forgery {
            what: "two change places and numbers",
            put: vec![(entry(3), but(&of(4), "id", json!(3))), (entry(4), but(&of(3), "id", json!(4)))],
            deleted: vec![],
            says: changed(3),
        },
        Forgery {
            what: "one more at the end",
            put: one(last + 1, but(&of(held), "id", json!(last + 1))),
            deleted: vec![],
            says: changed(last + 1),
        },
        Forgery {
            what: "the newest are gone",
            put: vec![],
            deleted: vec![entry(last), entry(last - 1)],
            says: format!("the journal ends with entry {}, and entry {last} was written: the newest are gone", last - 2),
        },
    ];
    for Forgery { what, put, deleted, says } in &forgeries {
        for (key, value) in put {
            keys.put(key, value).await?;
        }
        for key in deleted {
            keys.delete(key).await?;
        }
        let told = operator.try_type(&["journal", "--verify"]).await?;
        ensure!(told.code == 1 && told.err.contains(says), "{what}: {told:?}, and not: {says}");
        println!("{what}: {}", told.err.trim());
        // As it was.
        for (key, value) in &written {
            keys.put(key, value).await?;
        }
        if put.iter().any(|(key, _)| *key == entry(last + 1)) {
            keys.delete(&entry(last + 1)).await?;
        }
        operator.type_in(&["journal", "--verify", "--head", &kept]).await.with_context(|| format!("after {what}"))?;
    }

    // WHEN somebody takes the newest away and also says that they never were THEN only who has kept the hash knows
    let before = of(last - 1);
    let wound_back = but(&books, "journal", json!({ "id": last - 1, "hash": before["hash"] }));
    keys.put(BOOKS, &wound_back).await?;
    keys.delete(&entry(last)).await?;
    operator.type_in(&["journal", "--verify"]).await.context("nothing in the store says so")?;
    let told = operator.try_type(&["journal", "--verify", "--head", &kept]).await?;
    ensure!(told.code == 1 && told.err.contains(&format!("entry {last} is not the one that was kept")), "{told:?}");
    drop(orchestrator);
    directory.passed();
    Ok(())
}

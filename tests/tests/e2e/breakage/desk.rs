//! Whoever edits the rules, and gets it wrong: the ways to break them, where each must be complained of, and the ways to
//! make it known.

use std::cell::Cell;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use ficus_tests::http::Http;
use ficus_tests::operator::Operator;
use ficus_tests::world::World;
use rustix::process::Signal;
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(120);

/// How the orchestrator hears of an edit. Its watch sees every one of them; a signal and a request are there to be quicker.
#[derive(Debug, Clone, Copy)]
pub(super) enum Told {
    Watch,
    Hangup,
    Request,
}

impl Told {
    pub(super) const ALL: [Told; 3] = [Told::Watch, Told::Hangup, Told::Request];
}

/// Where the switch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    Before,
    During,
    After,
}

/// One way to break the rules, and the complaint that it must bring.
pub(super) struct Breakage {
    pub(super) what: &'static str,
    edit: Edit,
    file: String,
    line: usize,
    says: &'static str,
}

enum Edit {
    /// The capability's file has these bytes.
    Bytes(Vec<u8>),
    /// Another file appears.
    Beside(&'static str, &'static str),
    /// The capability's file is gone.
    Gone,
    /// The whole directory is gone.
    NoDirectory,
}

/// Somebody at the rules of a world.
pub(super) struct Desk<'a> {
    world: &'a World,
    operator: Operator,
    admin: Http,
    rules: PathBuf,
    /// The capability's file as it should be.
    pub(super) good: String,
    /// How many breakages were mended.
    pub(super) mended: Cell<usize>,
}

impl<'a> Desk<'a> {
    pub(super) fn new(world: &'a World) -> Result<Desk<'a>> {
        Desk::of(world, std::fs::read_to_string(world.directory.join("rules/users.toml"))?)
    }

    /// As [`Desk::new`], where the file may be broken at the moment.
    pub(super) fn of(world: &'a World, good: String) -> Result<Desk<'a>> {
        let admin = Http::new(&world.admin_url(), Duration::from_secs(10));
        Ok(Desk { world, operator: world.operator()?, admin, rules: world.directory.join("rules"), good, mended: Cell::new(0) })
    }

    pub(super) fn break_by_name(&self, what: &str) -> Result<Breakage> {
        let breakage = self.breakages(Moment::Before).into_iter().find(|one| one.what == what).context("there is no such breakage")?;
        self.break_it(&breakage)?;
        Ok(breakage)
    }

    /// Every way that fits the moment.
    pub(super) fn breakages(&self, moment: Moment) -> Vec<Breakage> {
        let good = &self.good;
        let in_users = |what, text: &str, line, says| {
            let edit = Edit::Bytes(text.as_bytes().to_vec());
            Breakage { what, edit, file: "users.toml".into(), line, says }
        };
        let instead = |what, from: &str, to: &str, says| {
            let at = good.find(from).expect("it is in the file");
            in_users(what, &good.replacen(from, to, 1), line_of(good, at), says)
        };
        let half = good.find("s/login").expect("it is in the file");
        let tables_left = good.find("[[table]]\nlegacy = \"accounts_photo\"").expect("it is in the file");
        let first_table = line_of(good, good.find("[[table]]").expect("it is in the file"));
        let failing = line_of(good, good.find("expect = \"none\"").expect("it is in the file"));
        let mut all = vec![
            instead("a syntax error", "modern = \"users-service\"", "modern = \"users-service", ""),
            instead("half a file", &good[half..], "", ""),
            instead("an unknown key", "shadow = false", "shaddow = false", "shaddow"),
            instead("an unknown service", "modern = \"users-service\"", "modern = \"nowhere\"", "nowhere"),
            // The complaint is about the test, which begins three lines above.
            Breakage { line: failing - 3, ..instead("a test that fails", "expect = \"none\"", "expect = \"modern\"", "") },
            in_users("an empty file", "", 1, ""),
            in_users("a file that ends before its last table", &good[..tables_left], first_table, "`accounts_photo` and `photos` are gone"),
            Breakage { edit: Edit::Gone, ..in_users("no file", "", 1, "has no rules any more") },
            Breakage {
                edit: Edit::Bytes([good.as_bytes(), b"\n\xff\xfe"].concat()),
                ..in_users("bytes that are no text", "", line_of(good, good.len()) + 1, "")
            },
            Breakage {
                edit: Edit::Beside("flags.toml", "\n[flg.x]\n"),
                file: "flags.toml".into(),
                ..in_users("bad flags beside it", "", 2, "flg")
            },
            Breakage { edit: Edit::NoDirectory, file: "rules".into(), ..in_users("no directory", "", 1, "cannot be read") },
        ];
        if moment == Moment::During {
            let says = "change while a cutover or revert";
            let (from, to) = ("key = \"user_id\"\n", "key = \"user_id\"\nkeep_legacy = [\"uploaded_at\"]\n");
            // The complaint is about the table, which begins three lines above.
            let changed = instead("another table in mid-switch", from, to, says);
            all.push(Breakage { line: changed.line - 3, ..changed });
        }
        all
    }

    /// Breaks and mends in every way, each told in another one. Nothing but the complaints changes.
    pub(super) async fn break_and_mend_all(&self, moment: Moment, turn: usize) -> Result<()> {
        let all = self.breakages(moment);
        // A switch has a deadline: in it, every third in turn.
        let share = if moment == Moment::During { 3 } else { 2 };
        for (number, breakage) in all.iter().enumerate().filter(|(number, _)| number % share == turn % share) {
            let told = Told::ALL[(number / share + turn) % Told::ALL.len()];
            self.break_and_mend(breakage, told).await.with_context(|| format!("{}, told by {told:?}", breakage.what))?;
            self.mended.set(self.mended.get() + 1);
        }
        Ok(())
    }

    async fn break_and_mend(&self, breakage: &Breakage, told: Told) -> Result<()> {
        let before = self.rules_status().await?["generation"].clone();
        self.break_it(breakage)?;
        self.tell(told).await?;
        self.until_told(breakage).await?;
        let during = self.rules_status().await?["generation"].clone();
        ensure!(during == before, "generation {during} serves, {before} was the last good one");
        self.mend(breakage)?;
        self.tell(told).await?;
        let after = self.until_good().await?;
        ensure!(after == before, "the same rules have become generation {after}, they were {before}");
        Ok(())
    }

    /// Puts it to the disk.
    pub(super) fn break_it(&self, breakage: &Breakage) -> Result<()> {
        match &breakage.edit {
            Edit::Bytes(bytes) => std::fs::write(self.rules.join("users.toml"), bytes)?,
            Edit::Beside(name, text) => std::fs::write(self.rules.join(name), text)?,
            Edit::Gone => std::fs::remove_file(self.rules.join("users.toml"))?,
            Edit::NoDirectory => std::fs::rename(&self.rules, self.rules.with_extension("away"))?,
        }
        Ok(())
    }

    /// Puts everything back.
    pub(super) fn mend(&self, breakage: &Breakage) -> Result<()> {
        match &breakage.edit {
            Edit::Bytes(_) | Edit::Gone => std::fs::write(self.rules.join("users.toml"), &self.good)?,
            Edit::Beside(name, _) => std::fs::remove_file(self.rules.join(name))?,
            Edit::NoDirectory => std::fs::rename(self.rules.with_extension("away"), &self.rules)?,
        }
        Ok(())
    }

    pub(super) async fn tell(&self, told: Told) -> Result<()> {
        match told {
            Told::Watch => {}
            Told::Hangup => self.world.ficus.signal(Signal::HUP),
            Told::Request => drop(self.reload().await?),
        }
        Ok(())
    }

    /// The complaint is there, with file and line: in the status, at `ficus reload`, and in the log.
    pub(super) async fn until_told(&self, breakage: &Breakage) -> Result<()> {
        let Breakage { what, file, line, says, .. } = breakage;
        let deadline = Instant::now() + PATIENCE;
        let named =
            |one: &Value| one["file"] == **file && one["line"] == *line && one["message"].as_str().is_some_and(|text| text.contains(says));
        let complaints = loop {
            let complaints = self.rules_status().await?["complaints"].take();
            if complaints.as_array().is_some_and(|all| all.iter().any(named)) {
                break complaints;
            }
            ensure!(Instant::now() < deadline, "{what}: nobody complains of {file}:{line} {says:?}: {complaints:#}");
            tokio::time::sleep(Duration::from_millis(15)).await;
        };
        let (code, said) = self.reload().await?;
        ensure!(code == 422, "{what}: taken by a reload: {code} {said}");
        ensure!(said["complaints"] == complaints, "{what}: the reload says {said:#}, the status {complaints:#}");
        let place = format!("{file}:{line}:");
        ensure!(self.world.ficus.log().contains(&place), "{what}: {place} is not in the log");
        Ok(())
    }

    /// Nothing is complained of; the generation that serves.
    pub(super) async fn until_good(&self) -> Result<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut rules = self.rules_status().await?;
            if rules["complaints"].as_array().is_some_and(Vec::is_empty) {
                return Ok(rules["generation"].take());
            }
            ensure!(Instant::now() < deadline, "still complained of: {rules:#}");
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
    }

    /// A good edit: a route more, other steps where none has begun. It serves, whatever the capability is at.
    pub(super) async fn change(&mut self, number: usize, moment: Moment) -> Result<()> {
        let path = format!("/change-{number}/");
        let before = self.rules_status().await?["generation"].as_u64();
        let step = "[[step]]\nreads = \"50%\"\nhold = \"4s\"\n\n";
        let shorter = self.good.replacen(step, "", 1);
        let longer = self.good.replacen("[[step]]\nreads = \"100%\"", &format!("{step}[[step]]\nreads = \"100%\""), 1);
        let steps = match moment {
            Moment::During => self.good.clone(),
            _ if self.good.contains(step) => shorter,
            _ => longer,
        };
        self.good = steps.replacen("[cohort]", &format!("[[route]]\npath = \"{path}\"\n\n[cohort]"), 1);
        std::fs::write(self.rules.join("users.toml"), &self.good)?;
        self.tell(Told::ALL[number % Told::ALL.len()]).await?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let explained = self.operator.type_in(&["explain", "GET", &path, "--json"]).await?;
            if explained.contains("\"capability\": \"users\"") {
                break;
            }
            ensure!(Instant::now() < deadline, "{path} is not served by the changed rules: {:#}", self.rules_status().await?);
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
        ensure!(self.rules_status().await?["generation"].as_u64() > before, "another rule set under the same generation");
        Ok(())
    }

    /// Rule sets that were refused, as the metric counts them.
    pub(super) async fn refused_so_far(&self) -> Result<u64> {
        let metrics = self.admin.get("/metrics").await?.text();
        let line = metrics.lines().find_map(|line| line.strip_prefix("ficus_rules_reload_failures_total "));
        Ok(line.context("the metric is missing")?.trim().parse()?)
    }

    async fn rules_status(&self) -> Result<Value> {
        let mut status = self.admin.get("/api/v1/status").await?.json()?;
        match status["rules"].take() {
            Value::Null => bail!("a status without rules: {status}"),
            rules => Ok(rules),
        }
    }

    /// What `POST /api/v1/reload` answers.
    async fn reload(&self) -> Result<(u16, Value)> {
        let headers = [("content-type", "application/json")];
        let answer = self.admin.send(hyper::Method::POST, "/api/v1/reload", &headers, "{}".into()).await?;
        Ok((answer.status.as_u16(), answer.json()?))
    }
}

/// The line of a byte, from 1.
fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

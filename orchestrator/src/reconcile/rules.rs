//! Rules come in: at the start, and whenever the directory changes. Bad ones leave the last good ones serving, and say so
//! in the log, the metric and the status.

use std::sync::Arc;

use ficus_rules::migration::State;
use ficus_rules::migration::advance::JournalLine;
use ficus_rules::plan::RuleSet;
use ficus_rules::spec::{self, Checked, Complaint, Known};
use ficus_rules::wire::RuleFile;
use serde_json::json;
use tokio::sync::oneshot;
use tracing::{info, warn};

use super::{Command, Reconciler, with_reason};
use crate::access::Author;
use crate::rulebook::{self, Rulebook};
use crate::store::{Change, Note, StoreError};
use crate::{Error, Shared, fleet, metrics};

/// Asks the reconciler to read the rules now.
pub(crate) async fn reload(shared: &Shared, by: Author, reason: Option<String>) -> Result<u64, Vec<Complaint>> {
    let (reply, answer) = oneshot::channel();
    let ending = || vec![about_store("the orchestrator is ending")];
    shared.commands.send(Command::Reload { by, reason, reply }).await.map_err(|_| ending())?;
    answer.await.map_err(|_| ending())?
}

impl Reconciler {
    /// The rules of the start: those of the directory, or the last good ones if these are bad.
    pub(super) async fn first_rules(&mut self, last_good: Option<(Vec<RuleFile>, u64, u64)>) -> Result<(), Error> {
        let config = &self.shared.config;
        let read = rulebook::read_or_complain(&config.rules_dir);
        self.view.attempted = read.as_ref().ok().cloned();
        // Edits of the time between are compared with what served, also when `ficus.toml` no longer knows its services.
        let loaded = last_good.as_ref().and_then(|(files, ..)| spec::load(files, &Known::default()).ok());
        let stored = loaded.map_or_else(RuleSet::default, |checked| checked.rules);
        let before = last_good.and_then(|(files, generation, published)| {
            let checked = rulebook::check(&files, &config.known, &self.view.states, &RuleSet::default()).ok()?;
            Some(Rulebook { files, rules: checked.rules, warnings: checked.warnings, generation, published })
        });
        let judged = read.and_then(|files| {
            let checked = rulebook::check(&files, &config.known, &self.view.states, &stored)?;
            Ok((files, checked))
        });
        match (judged, before) {
            (Ok((files, _)), Some(before)) if files == before.files => self.view.rulebook = Arc::new(before),
            (Ok((files, checked)), _) => {
                let by = Author::of_files(&self.shared.config.rules_dir);
                self.adopt(files, checked, &by, None).await?;
            }
            (Err(complaints), Some(before)) => {
                self.complain(complaints);
                self.view.rulebook = Arc::new(before);
            }
            (Err(complaints), None) => return Err(Error::Rules(complaints)),
        }
        self.draft_new_ones().await?;
        self.publish();
        Ok(())
    }

    /// Reads, judges, and takes the rules or keeps the old ones.
    pub(super) async fn reload(&mut self, by: &Author, reason: Option<&str>) -> Result<u64, Vec<Complaint>> {
        let read = rulebook::read_or_complain(&self.shared.config.rules_dir);
        self.view.attempted = read.as_ref().ok().cloned();
        let judged = read.and_then(|files| {
            let checked = rulebook::check(&files, &self.shared.config.known, &self.view.states, &self.view.rulebook.rules)?;
            Ok((files, checked))
        });
        let taken = match judged {
            Ok((files, _)) if files == self.view.rulebook.files => {
                self.view.complaints.clear();
                self.say_why(by, reason).await.map_err(|failed| vec![about_store(&failed.to_string())])
            }
            Ok((files, checked)) => {
                let taken = async {
                    self.adopt(files, checked, by, reason).await?;
                    self.draft_new_ones().await
                };
                taken.await.map_err(|failed| vec![about_store(&failed.to_string())])
            }
            Err(complaints) => Err(complaints),
        };
        if let Err(complaints) = &taken {
            self.complain(complaints.clone());
        }
        self.publish();
        taken.map(|()| self.view.rulebook.generation)
    }

    /// Whoever says why the files are to be read finds it in the journal, also when they were read a moment before.
    async fn say_why(&mut self, by: &Author, reason: Option<&str>) -> Result<(), StoreError> {
        let Some(reason) = reason.filter(|reason| !reason.is_empty()) else { return Ok(()) };
        let line = JournalLine { kind: "rules".into(), text: "rules read again: they are those that serve".into(), detail: json!({}) };
        let note = Note::by(by, fleet::now(), None, with_reason(line, Some(reason)));
        self.save(self.view.overrides.clone(), note).await
    }

    async fn adopt(&mut self, files: Vec<RuleFile>, checked: Checked, by: &Author, reason: Option<&str>) -> Result<(), StoreError> {
        let names: Vec<_> = files.iter().map(|file| file.name.clone()).collect();
        let line =
            JournalLine { kind: "rules".into(), text: format!("rules taken: {}", names.join(", ")), detail: json!({ "files": names }) };
        let note = Note::by(by, fleet::now(), None, with_reason(line, reason));
        let known = self.view.newest();
        let saved = self.shared.store.save_rules(&files, &note).await;
        self.shared.changes.journal().up();
        self.unsure |= saved.is_err();
        let (generation, published) = saved?;
        for stored in self.view.states.values_mut() {
            (stored.serving_generation, stored.orders_generation) = (published, published);
        }
        for warning in &checked.warnings {
            warn!("{warning}");
        }
        info!(generation, files = files.len(), capabilities = checked.rules.capabilities.len(), "rules taken");
        self.view.rulebook = Arc::new(Rulebook { files, rules: checked.rules, warnings: checked.warnings, generation, published });
        self.view.complaints.clear();
        self.read_between(known).await
    }

    /// Rules that were written, and of which this process does not know it.
    pub(super) fn take_written(&mut self, files: Vec<RuleFile>, generation: u64, published: u64) {
        match rulebook::check(&files, &self.shared.config.known, &self.view.states, &self.view.rulebook.rules) {
            Ok(checked) => {
                self.view.rulebook = Arc::new(Rulebook { files, rules: checked.rules, warnings: checked.warnings, generation, published });
            }
            Err(complaints) => warn!(complaints = complaints.len(), generation, "rules that are written are bad here, others serve"),
        }
    }

    /// Capabilities that the rules name for the first time begin as drafts.
    pub(super) async fn draft_new_ones(&mut self) -> Result<(), StoreError> {
        let rulebook = Arc::clone(&self.view.rulebook);
        for name in rulebook.rules.capabilities.keys().filter(|name| !self.view.states.contains_key(*name)).cloned().collect::<Vec<_>>() {
            let state = State::draft(&name, fleet::now());
            let change = Change { from: 0, state: &state, serving: true, orders: true, journal: &[] };
            let known = self.view.newest();
            let drafted = self.shared.store.compare_and_swap(&change).await;
            self.unsure |= drafted.is_err();
            match drafted? {
                Some(stored) => drop(self.view.states.insert(name, stored)),
                None => self.take_over().await?,
            }
            self.publish_after(known).await?;
        }
        Ok(())
    }

    fn complain(&mut self, complaints: Vec<Complaint>) {
        metrics::reload_failed();
        for complaint in &complaints {
            warn!("{complaint}");
        }
        warn!(complaints = complaints.len(), "the rules are bad, the last good ones serve on");
        self.view.complaints = complaints;
    }
}

pub(super) fn about_store(message: &str) -> Complaint {
    let hint = "the rule files were not at fault".to_owned();
    Complaint { file: String::new(), line: 1, column: 1, message: message.to_owned(), hint, warning: false }
}

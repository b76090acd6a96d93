//! Every TOML example of every page is run: `ficus check` takes what is right, and prints of what is wrong what the page says;
//! editors take by the schemas what is right. An example is of the file whose sections it has; one of no file, and TOML that
//! is not called so, would be run by nobody, and fails.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};

use crate::documentation::all_pages;
use crate::reference::{AROUND, Block, CONFIGURATION, FLAGS, blocks, check, completed, sections, within, write};
use crate::schemas::refused;

/// The sections of each kind of file.
const KINDS: [(Kind, &[&str]); 3] = [
    (Kind::Rules, &["capability", "route", "plugins", "cohort", "claims", "step", "gate", "cutover", "return", "table", "event", "test"]),
    (Kind::Flags, &["flag"]),
    (Kind::Configuration, &["gateway", "orchestrator", "agent", "upstream", "identity", "events"]),
];

/// What fragments of `ficus.toml` speak of: where the first stands and the second does not, the third is added.
const MEANT: [(&str, &str, &str); 2] = [
    // The monolith is asked about somebody's sessions.
    ("[identity.ask]", "[identity.flask]", "[identity.flask]\nsecret_key_file = \"flask-secret-key\"\n"),
    (
        "tls = true",
        "[[gateway.certificate]]",
        "[[gateway.certificate]]\ncertificate_file = \"tls/school.example.pem\"\nkey_file = \"tls/school.example.key\"\n",
    ),
];

/// Words of blocks that are no TOML, with no word for drawings.
const OTHERS: [&str; 7] = ["sh", "sql", "text", "json", "python", "ini", ""];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Rules,
    Flags,
    Configuration,
}

impl Kind {
    /// Of which file an example is.
    fn of(example: &str) -> Result<Kind> {
        let found = sections(example);
        let headers: Vec<&str> = found.iter().map(|(header, _)| header.split('.').next().unwrap_or("")).filter(|h| !h.is_empty()).collect();
        let fits = |(_, own): &&(Kind, &[&str])| headers.iter().all(|header| own.contains(header));
        match KINDS.iter().find(fits).filter(|_| !headers.is_empty()) {
            Some((kind, _)) => Ok(*kind),
            None => bail!("this is of no file that could be run; call it `text` if that is meant:\n{example}"),
        }
    }

    /// The example as a whole file, in its place.
    fn file(self, example: &str) -> (&'static str, String) {
        match self {
            Kind::Rules => ("rules/users.toml", completed(example)),
            Kind::Flags => ("rules/flags.toml", example.to_owned()),
            Kind::Configuration => {
                let missing = MEANT.iter().filter(|(with, without, _)| example.contains(with) && !example.contains(without));
                let meant: String = missing.map(|(.., text)| *text).collect();
                ("ficus.toml", within(&format!("{example}\n{meant}"), CONFIGURATION))
            }
        }
    }

    fn schema(self) -> &'static str {
        match self {
            Kind::Rules => "rules",
            Kind::Flags => "flags",
            Kind::Configuration => "ficus",
        }
    }
}

/// What was run: right examples with the files that they became, and how many were wrong, as their pages say.
#[derive(Default)]
struct Run {
    right: Vec<(Kind, PathBuf)>,
    wrong: usize,
}

#[test]
fn every_example_of_every_page_is_as_the_page_says() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut run = Run::default();
    for page in all_pages()? {
        let text = std::fs::read_to_string(&page)?;
        of_page(&blocks(&text), directory.path(), &mut run).with_context(|| page.display().to_string())?;
    }
    for (kind, least) in [(Kind::Rules, 30), (Kind::Flags, 1), (Kind::Configuration, 18)] {
        let files: Vec<&PathBuf> = run.right.iter().filter(|(of, _)| *of == kind).map(|(_, file)| file).collect();
        ensure!(files.len() >= least, "only {} of {kind:?}: the test reads the pages wrongly", files.len());
        let refused = refused(kind.schema(), &files)?;
        ensure!(refused.is_empty(), "{kind:?}: the schema refuses what the pages show:\n{}", refused.join("\n"));
    }
    ensure!(run.wrong >= 8, "only {} wrong examples: the test reads the pages wrongly", run.wrong);
    println!("{} right, {} wrong", run.right.len(), run.wrong);
    Ok(())
}

fn of_page(blocks: &[Block], directory: &Path, run: &mut Run) -> Result<()> {
    for (at, block) in blocks.iter().enumerate() {
        if block.kind != "toml" {
            ensure!(OTHERS.contains(&block.kind.as_str()), "a block of `{}`: what is that?", block.kind);
            let hidden = toml::from_str::<toml::Table>(&block.text).is_ok_and(|table| table.values().any(has_sections));
            ensure!(!hidden, "this is TOML, and not called so; nobody runs it:\n{}", block.text);
            continue;
        }
        let folder = directory.join(format!("{}-{}", run.right.len(), run.wrong));
        let kind = Kind::of(&block.text)?;
        let (name, text) = kind.file(&block.text);
        let (code, printed) = checked(&folder, name, &text)?;
        // What is printed of a wrong one stands below it.
        match blocks.get(at + 1).filter(|next| next.kind == "text") {
            None => {
                ensure!(code == 0 && !printed.contains("error"), "this example is wrong:\n{}\n{printed}", block.text);
                run.right.push((kind, folder.join(name)));
            }
            Some(told) => {
                ensure!(code == 64, "this example is said to be wrong, and is not:\n{}", block.text);
                for line in told.text.lines() {
                    ensure!(printed.contains(line), "`{line}` is not what is printed of\n{}\n{printed}", block.text);
                }
                run.wrong += 1;
            }
        }
    }
    Ok(())
}

/// Whether a value was written with a header of its own.
fn has_sections(value: &toml::Value) -> bool {
    value.is_table() || value.as_array().is_some_and(|list| !list.is_empty() && list.iter().all(toml::Value::is_table))
}

/// `ficus check` on a file among others that are right, with every file that it names.
fn checked(folder: &Path, name: &str, text: &str) -> Result<(i32, String)> {
    for (name, text) in [("ficus.toml", CONFIGURATION), ("rules/users.toml", AROUND), ("rules/flags.toml", FLAGS)] {
        write(folder, name, text)?;
    }
    // Where a page has a path from the root, nothing is there.
    let text = text.replace("\"/run/secrets/", "\"run/secrets/");
    if let Ok(table) = toml::from_str(&text) {
        let mut named = Vec::new();
        let made = rcgen::generate_simple_self_signed(["school.example".to_owned()])?;
        files(&toml::Value::Table(table), "", &mut named);
        for (place, file) in named {
            write(folder, &file, &content(&place, &made))?;
        }
    }
    write(folder, name, &text)?;
    check(folder)
}

/// The files that a configuration names, and the places where it does.
fn files(value: &toml::Value, place: &str, found: &mut Vec<(String, String)>) {
    match value {
        toml::Value::Table(table) => table.iter().for_each(|(key, value)| files(value, &format!("{place}.{key}"), found)),
        toml::Value::Array(list) => list.iter().for_each(|value| files(value, place, found)),
        toml::Value::String(name) if place.ends_with("file") || place.ends_with("files") => found.push((place.to_owned(), name.clone())),
        _ => {}
    }
}

/// What has to be in the file of such a place.
fn content(place: &str, made: &rcgen::CertifiedKey<rcgen::KeyPair>) -> String {
    match place.rsplit('.').next().unwrap_or_default() {
        "certificate_file" | "ca_file" => made.cert.pem(),
        "key_file" if place.contains("tls") || place.contains("certificate") => made.signing_key.serialize_pem(),
        "url_file" if place.starts_with(".events") => "amqp://ficus:word@broker.internal:5672/%2f\n".to_owned(),
        "url_file" => "https://chat.internal/ficus\n".to_owned(),
        // No two tokens may be one.
        _ => format!("the secret of {place}\n"),
    }
}

#[test]
fn an_example_that_nobody_would_run_is_found() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let says = |page: &str| of_page(&blocks(page), directory.path(), &mut Run::default()).err().map(|error| error.to_string());
    for (page, word) in [
        ("```toml\n[[route]]\npath = \"/\"\n[gateway]\n```\n", "of no file"),
        ("```toml\n[package]\nname = \"x\"\n```\n", "of no file"),
        ("```toml\nreads = \"5%\"\n```\n", "of no file"),
        ("```text\n[[step]]\nreads = \"5%\"\n[gate.errors]\nmax = \"2%\"\n```\n", "not called so"),
        ("```\n[upstream.a]\naddress = \"a:1\"\n```\n", "not called so"),
        ("```yaml\na: 1\n```\n", "what is that"),
        ("```toml\n[[step]]\nreads = \"500%\"\n```\n", "is wrong"),
        ("```toml\n[upstream.monolith]\naddress = \"nowhere\"\n```\n", "is wrong"),
        ("```toml\n[[step]]\ncutover = true\n[[step]]\nsoak = \"1d\"\n```\n```text\nerror\n```\n", "said to be wrong"),
    ] {
        let said = says(page).unwrap_or_default();
        ensure!(said.contains(word), "of\n{page}is said: {said}");
    }
    Ok(())
}

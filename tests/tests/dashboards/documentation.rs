//! The documentation: its files fit together, its commands exist, and its links lead somewhere.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::reference::{blocks, check, write};
use crate::shell::{commands, docs, pages, parse};

#[test]
fn the_files_of_the_way_to_ones_own_monolith_fit_together() -> Result<()> {
    let blocks = blocks(&std::fs::read_to_string(docs().join("from-demo-to-your-monolith.md"))?);
    let directory = tempfile::tempdir()?;
    write(directory.path(), "django-secret-key", "secret\n")?;
    let mut files = 0;
    for block in blocks.iter().filter(|block| block.kind == "toml") {
        let first = block.text.lines().next().unwrap_or_default();
        let name = first
            .strip_prefix("# ")
            .and_then(|name| name.split([',', ' ']).next())
            .context("a block does not begin with its file's name")?;
        // A later block of one file is what is added to it.
        let file = directory.path().join(name);
        let before = std::fs::read_to_string(&file).unwrap_or_default();
        write(directory.path(), name, &format!("{before}{}", block.text))?;
        files += 1;
        let (code, printed) = check(directory.path())?;
        ensure!(code == 0, "with {name} as the page has it so far:\n{printed}");
        ensure!(!printed.contains("error"), "{printed}");
    }
    ensure!(files >= 3, "only {files} files: the test reads the page wrongly");
    Ok(())
}

#[test]
fn every_command_in_the_documentation_exists() -> Result<()> {
    let mut found = 0;
    for page in all_pages()? {
        let typed = commands(&std::fs::read_to_string(&page)?);
        typed.iter().try_for_each(|command| parse(command)).with_context(|| page.display().to_string())?;
        found += typed.len();
    }
    ensure!(found >= 60, "only {found} commands: the test reads the pages wrongly");
    Ok(())
}

#[test]
fn every_command_in_the_examples_exists() -> Result<()> {
    let mut found = 0;
    for file in files_below(&docs().join("../rules/examples"), "toml")? {
        let typed = commands(&std::fs::read_to_string(&file)?);
        typed.iter().try_for_each(|command| parse(command)).with_context(|| file.display().to_string())?;
        found += typed.len();
    }
    ensure!(found >= 1, "no command: the test reads the examples wrongly");
    Ok(())
}

#[test]
fn every_link_in_the_documentation_leads_somewhere() -> Result<()> {
    let mut found = 0;
    for page in all_pages()? {
        let text = std::fs::read_to_string(&page)?;
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") {
                continue;
            }
            let (path, place) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { page.clone() } else { page.parent().context("a page in no folder")?.join(path) };
            ensure!(target.exists(), "{} links to {link}", page.display());
            if !place.is_empty() {
                let there = std::fs::read_to_string(&target)?;
                let headings = there.lines().filter(|line| line.starts_with('#')).map(anchor);
                ensure!(
                    headings.into_iter().any(|heading| heading == place),
                    "{} links to {link}, which has no such heading",
                    page.display()
                );
            }
            found += 1;
        }
    }
    ensure!(found >= 30, "only {found} links: the test reads the pages wrongly");
    Ok(())
}

#[test]
fn the_book_has_every_page_once() -> Result<()> {
    let folder = docs();
    let book: toml::Table = toml::from_str(&std::fs::read_to_string(folder.join("book.toml"))?)?;
    ensure!(book["book"]["src"].as_str() == Some("."), "the book is made of other files");
    ensure!(book["build"]["use-default-preprocessors"].as_bool() == Some(false), "README.md gets a name that no page links to");
    ensure!(book["preprocessor"]["outside"]["command"].as_str() == Some("python3 docs/outside.py"), "links lead out of the book");
    let summary = std::fs::read_to_string(folder.join("SUMMARY.md"))?;
    let mut listed: Vec<PathBuf> =
        summary.split("](").skip(1).filter_map(|rest| rest.split(')').next()).map(|link| folder.join(link)).collect();
    let mut written = pages(&folder)?;
    written.extend(pages(&folder.join("runbooks"))?);
    written.retain(|page| !page.ends_with("SUMMARY.md"));
    listed.sort();
    written.sort();
    ensure!(listed == written, "type `python3 docs/make.py`: the book has {listed:?}\nwritten are {written:?}");
    Ok(())
}

#[test]
fn no_link_of_the_book_leads_out_of_it() -> Result<()> {
    // GIVEN the pages as mdbook hands them over
    let chapter = |page: &PathBuf| -> Result<Value> {
        let path = page.strip_prefix(docs())?;
        Ok(json!({ "Chapter": { "path": path, "content": std::fs::read_to_string(page)?, "sub_items": [] } }))
    };
    let inside: Vec<Value> = [pages(&docs())?, pages(&docs().join("runbooks"))?].concat().iter().map(chapter).collect::<Result<_>>()?;
    ensure!(inside.len() >= 50, "only {} pages: the test reads them wrongly", inside.len());
    // WHEN what book.toml names has been over them
    let mut told =
        Command::new("python3").args(["-B", "outside.py"]).current_dir(docs()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    told.stdin.take().context("an input")?.write_all(json!([{}, { "sections": inside }]).to_string().as_bytes())?;
    let book: Value = serde_json::from_slice(&told.wait_with_output()?.stdout)?;
    // THEN each link is one to a file in the folder, and paths elsewhere are told in words
    let mut found = 0;
    for chapter in book["sections"].as_array().context("a book without sections")?.iter().map(|section| &section["Chapter"]) {
        let (path, text) = (chapter["path"].as_str().unwrap_or_default(), chapter["content"].as_str().unwrap_or_default());
        let page = docs().join(path);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()).filter(|link| !link.contains("://")) {
            let target = if link.is_empty() { page.clone() } else { page.parent().context("a page in no folder")?.join(link) };
            let target = target.canonicalize().with_context(|| format!("{path} links to {link}"))?;
            ensure!(target.is_file() && target.starts_with(docs().canonicalize()?), "{path} leads out of the book, to {link}");
            found += 1;
        }
    }
    ensure!(found >= 150, "only {found} links: the test reads the book wrongly");
    ensure!(book.to_string().contains("(`rules/examples`)"), "where a link led is not told");
    Ok(())
}

/// The pages that users read.
pub(crate) fn all_pages() -> Result<Vec<PathBuf>> {
    let root = docs().join("..");
    let mut all = pages(&docs())?;
    all.extend(pages(&docs().join("runbooks"))?);
    all.extend(["README.md", "dashboards/README.md", "deploy/README.md"].map(|name| root.join(name)));
    Ok(all)
}

/// Files of a kind below a folder, however deep.
pub(crate) fn files_below(folder: &Path, kind: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("no {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files_below(&path, kind)?);
        } else if path.extension().is_some_and(|extension| extension == kind) {
            found.push(path);
        }
    }
    Ok(found)
}

/// How a forge calls a heading in links.
fn anchor(heading: &str) -> String {
    let kept =
        |c: char| if c == ' ' { Some('-') } else { Some(c.to_ascii_lowercase()).filter(|c| c.is_alphanumeric() || "-_".contains(*c)) };
    heading.trim_start_matches('#').trim().chars().filter_map(kept).collect()
}

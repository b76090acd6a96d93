//! Somebody reads what is printed, or not.

use std::process::{Command, Stdio};

#[test]
fn a_reader_that_had_enough_ends_it_quietly() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = "[gateway]\nlisten = [\"127.0.0.1:0\"]\ndefault = \"monolith\"\n\n[upstream.monolith]\naddress = \"127.0.0.1:8000\"\n";
    std::fs::write(directory.path().join("ficus.toml"), config).expect("it is written");
    std::fs::create_dir(directory.path().join("rules")).expect("it is made");
    for words in [&["check", "--json"][..], &["check"], &["flag", "--json"]] {
        let (gone, to) = std::io::pipe().expect("a pipe");
        drop(gone);
        let mut ficus = Command::new(env!("CARGO_BIN_EXE_ficus"));
        ficus.args(words).current_dir(&directory).env_remove("FICUS_CONFIG").env_remove("FICUS_ADMIN");
        // Whatever it says, and wherever: `flag` has no orchestrator to ask, and complains.
        let (stdout, stderr) = if words[0] == "flag" { (Stdio::null(), Stdio::from(to)) } else { (Stdio::from(to), Stdio::piped()) };
        let ended = ficus.stdout(stdout).stderr(stderr).output().expect("it runs");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!((ended.status.code(), &*said), (Some(141), ""), "{words:?}");
    }
}

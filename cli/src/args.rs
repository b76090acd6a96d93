//! The command line. Each command's help ends with examples.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use ficus_rules::Side;

/// Moves a Django or Flask monolith to new services, one capability at a time, and back.
#[derive(Debug, Parser)]
#[command(name = "ficus", version, after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The process's configuration.
    #[arg(long, short, global = true, env = "FICUS_CONFIG", default_value = "ficus.toml")]
    pub(crate) config: PathBuf,
    /// The orchestrator's admin API; of several orchestrators all of them, with commas between; by default those in the configuration.
    #[arg(long, global = true, env = "FICUS_ADMIN")]
    pub(crate) admin: Option<String>,
    /// The certificates (PEM) that vouch for an admin API behind https; by default those of the configuration.
    #[arg(long, global = true, env = "FICUS_CA")]
    pub(crate) ca: Option<PathBuf>,
    /// Print JSON instead of text.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "Examples:
  ficus check                        are the rules sound? (exit 64 if not)
  ficus run                          gateway, agent and orchestrator in one process
  ficus status --watch               what happens, live
  ficus plan                         what lies ahead, and how long it takes
  ficus advance users                begin, or skip the rest of a step's hold
  ficus cutover users                move the writes
  ficus revert users                 and back, keeping every write
  ficus explain GET /api/v1/users/42/ --user 7

Exit codes: 0 done, 1 failed, 2 wrong command line, 3 refused,
  64 bad configuration, 130 interrupted, 141 nobody reads the output.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run gateway, agent and orchestrator in this process.
    #[command(after_help = "Examples:\n  ficus run\n  ficus --config /etc/ficus/ficus.toml run")]
    Run,
    /// Run a gateway alone.
    #[command(
        after_help = "Examples:\n  ficus gateway\n  ficus --admin http://127.0.0.1:7070 gateway\n  ficus gateway --name gateway-2       one of several with the same ficus.toml"
    )]
    Gateway {
        /// Its name, stable over a restart; by default that in the configuration.
        #[arg(long, env = "FICUS_GATEWAY_NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
        name: Option<String>,
    },
    /// Run a sync agent alone.
    #[command(after_help = "Examples:\n  ficus agent\n  ficus --admin http://127.0.0.1:7070 agent")]
    Agent,
    /// Run an orchestrator alone.
    #[command(
        after_help = "Examples:\n  ficus orchestrator\n  ficus orchestrator --address http://10.0.0.2:7070    one of several with the same ficus.toml"
    )]
    Orchestrator {
        /// What others reach it by, where its state is in etcd; by default that in the configuration.
        #[arg(long, env = "FICUS_ORCHESTRATOR_ADDRESS", value_parser = crate::config::reached_by)]
        address: Option<String>,
    },
    /// Write a first ficus.toml and rules from a Django or Flask project.
    #[command(
        after_help = "Examples:\n  ficus init                              manage.py is here\n  ficus init --manage src/manage.py --python .venv/bin/python\n  ficus init --flask shop:create_app --address 127.0.0.1:5000\n  ficus init --dry-run > proposal.txt\n\nThe project is loaded by its own Python and not changed; no secret is read into the files."
    )]
    Init(Init),
    /// Check ficus.toml and the rule files, and run their tests.
    #[command(
        after_help = "Examples:\n  ficus check\n  ficus check --rules new-rules/\n  ficus check --json | jq '.[] | select(.warning | not)'\n  ficus check --live                 are the databases ready? reads only; exit 64 if not\n  ficus check --live --capability users --rows 0\n  ficus check --live --json | jq '.findings[] | select(.severity == \"refused\").statements'"
    )]
    Check(Check),
    /// Work on table mappings.
    #[command(
        after_help = "Examples:\n  ficus map init --legacy monolith --modern users-service --capability users > rules/users.toml\n  ficus check && ficus check --live"
    )]
    Map {
        #[command(subcommand)]
        what: MapWhat,
    },
    /// Print the JSON Schema of a file: editors complete and check it by that.
    #[command(
        after_help = "Examples:\n  ficus schema rules > schema/rules.schema.json      then, on the first line of rules/NAME.toml:\n                                                     #:schema ../schema/rules.schema.json\n  ficus schema ficus > schema/ficus.schema.json"
    )]
    Schema {
        /// Of rules/NAME.toml, rules/flags.toml or ficus.toml.
        of: SchemaOf,
    },
    /// Say which side would serve a request, and why; or which requests of a log would go elsewhere by other rules.
    #[command(
        after_help = "Examples:\n  ficus explain GET /api/v1/users/42/ --user 7\n  ficus explain POST /api/v1/users/ -H 'x-tenant: north'\n  ficus explain GET / --offline        by the files alone, as if nothing had moved\n  ficus explain --diff new-rules/ --requests access.log\n  ficus explain --diff new-rules/ --requests access.log --json | jq .changed\n\nA log has JSON lines of our own, the combined format of nginx and Apache, or a method and a path on each line.\nWith --diff the exit code is 1 if any request would go elsewhere."
    )]
    Explain(Explain),
    /// Show every capability: phase, gates, lag, what it waits for.
    #[command(after_help = "Examples:\n  ficus status\n  ficus status --watch\n  ficus status --json | jq .capabilities.users.phase")]
    Status {
        /// Only this capability.
        capability: Option<String>,
        /// Refresh until interrupted.
        #[arg(long, short)]
        watch: bool,
    },
    /// Show the path ahead: steps, how long they last, what they need, how much of the monolith is gone.
    #[command(
        after_help = "Examples:\n  ficus plan\n  ficus plan users --dry-run       how long a cutover would hold the writes now, and why\n  ficus plan --json | jq '.capabilities[] | {name, lasts_ms: .path.lasts_ms}'\n\nNothing is moved. Times are those of the rules and of what was measured; what was not is marked as assumed."
    )]
    Plan {
        /// Only this capability.
        capability: Option<String>,
        /// Also rehearse the next switch, stage by stage, by what is measured now.
        #[arg(long)]
        dry_run: bool,
    },
    /// Begin a capability, or skip the rest of its step's hold.
    #[command(after_help = "Examples:\n  ficus advance users")]
    Advance(Wish),
    /// Keep a capability from going forward.
    #[command(after_help = "Examples:\n  ficus hold users --reason 'exam week'")]
    Hold(Wish),
    /// Take a hold away, or all of them. What waits for approval goes on waiting for it.
    #[command(
        after_help = "Examples:\n  ficus release users\n  ficus release users --reason 'exam week'\n  ficus release users --hold 'exam week' --reason 'the marks are in'"
    )]
    Release(Release),
    /// Let the next step begin, which waits for approval. Holds stay.
    #[command(after_help = "Examples:\n  ficus approve users --reason 'seen by the registrar'")]
    Approve(Wish),
    /// Move the writes of a capability to the new service.
    #[command(after_help = "Examples:\n  ficus cutover users\n  ficus cutover users --wait 30s")]
    Cutover(Wish),
    /// Stop a cutover before its point of no return, or a repair that is under way.
    #[command(after_help = "Examples:\n  ficus abort users")]
    Abort(Wish),
    /// Give a capability back to the monolith, with every write made meanwhile.
    #[command(after_help = "Examples:\n  ficus revert users\n  ficus revert users --wait 30s\n  ficus revert users --leave-set-aside")]
    Revert(Revert),
    /// End the monolith's part in a capability. There is no way back.
    #[command(after_help = "Examples:\n  ficus retire users")]
    Retire(Wish),
    /// Send the reads of everybody, or of one user, to a side.
    #[command(
        after_help = "Examples:\n  ficus pin users modern --user 42 --for 1h\n  ficus pin users legacy --reason 'incident 7'\n  ficus pin users --clear"
    )]
    Pin(Pin),
    /// Show or override feature flags.
    #[command(
        after_help = "Examples:\n  ficus flag\n  ficus flag new-profile on --for 1h\n  ficus flag new-profile off\n  ficus flag new-profile clear"
    )]
    Flag(Flag),
    /// Compare both databases, row by row.
    #[command(after_help = "Examples:\n  ficus verify users            exit 1 if rows differ")]
    Verify(Wish),
    /// Write the owner's rows over what differs.
    #[command(after_help = "Examples:\n  ficus repair users")]
    Repair(Wish),
    /// Show samples of shadowed requests whose answers differed.
    #[command(
        after_help = "Examples:\n  ficus diffs users\n  ficus diffs users --propose        which of them look like noise? prints TOML for the rule file"
    )]
    Diffs {
        /// Only this capability.
        capability: Option<String>,
        /// Propose rules that would leave out what looks like noise, as TOML.
        #[arg(long)]
        propose: bool,
    },
    /// Show the rows that could not be applied, with their values.
    #[command(after_help = "Examples:\n  ficus quarantine users")]
    Quarantine {
        /// The capability.
        capability: String,
    },
    /// Show what happened, in order.
    #[command(
        after_help = "Examples:\n  ficus journal users --limit 20\n  ficus journal --verify        was anything changed or taken out? exit 1 and the first such entry"
    )]
    Journal {
        /// Only this capability.
        capability: Option<String>,
        /// At most this many lines, the latest: 1 to 1000.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
        /// Check that no entry was changed, removed or moved since it was written.
        #[arg(long, conflicts_with_all = ["capability", "limit"])]
        verify: bool,
        /// With `--verify`: a last entry that an earlier check printed; everything up to it must be the same.
        #[arg(long, requires = "verify", value_parser = crate::command::journal::head)]
        head: Option<ficus_rules::audit::Head>,
    },
    /// Work on the orchestrator's state.
    #[command(after_help = "Examples:\n  ficus state move --dry-run")]
    State {
        #[command(subcommand)]
        what: StateWhat,
    },
    /// Read the rule files again.
    #[command(after_help = "Examples:\n  ficus reload                  exit 64 and all complaints if they are bad")]
    Reload {
        /// Why; stands in the journal.
        #[arg(long, default_value = "")]
        reason: String,
    },
}

/// What is done about the state.
#[derive(Debug, Subcommand)]
pub(crate) enum StateWhat {
    /// Move the state from its file into etcd, where several orchestrators share it. Nobody may work on either.
    #[command(
        after_help = "Examples:\n  ficus state move --dry-run      could it be moved? changes nothing; exit 3 if not\n  ficus state move"
    )]
    Move {
        /// Only look whether it could be moved.
        #[arg(long)]
        dry_run: bool,
    },
}

/// What is done about mappings.
#[derive(Debug, Subcommand)]
pub(crate) enum MapWhat {
    /// Propose the tables of a rule file from two live databases. Reads only, and prints to standard output.
    #[command(
        after_help = "Examples:\n  ficus map init --legacy monolith --modern users-service --capability users --tables accounts_\n  ficus map init --legacy sqlite:///srv/school/db.sqlite3 --modern postgres://ficus:secret@127.0.0.1/users\n\nWhat cannot be known stands as a question: # ? …"
    )]
    Init(MapInit),
}

/// Of which project.
#[derive(Debug, ClapArgs)]
pub(crate) struct Init {
    /// Django's manage.py.
    #[arg(long, conflicts_with = "flask")]
    pub(crate) manage: Option<PathBuf>,
    /// A Flask application, or what makes one: `module:app`, `package:create_app`.
    #[arg(long)]
    pub(crate) flask: Option<String>,
    /// The project's folder; by default that of manage.py, or this one.
    #[arg(long)]
    pub(crate) project: Option<PathBuf>,
    /// The project's own Python; by default that of its environment.
    #[arg(long)]
    pub(crate) python: Option<PathBuf>,
    /// Where the monolith listens.
    #[arg(long, default_value = "127.0.0.1:8000")]
    pub(crate) address: String,
    /// Where the gateway shall listen.
    #[arg(long, default_value = "127.0.0.1:8080")]
    pub(crate) listen: String,
    /// Print the files instead of writing them.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Overwrite files that are there.
    #[arg(long)]
    pub(crate) force: bool,
}

/// Between which databases.
#[derive(Debug, ClapArgs)]
pub(crate) struct MapInit {
    /// The monolith's database: the name of its upstream in ficus.toml, or a URL.
    #[arg(long)]
    pub(crate) legacy: String,
    /// The new service's database: likewise.
    #[arg(long)]
    pub(crate) modern: String,
    /// What the capability is called.
    #[arg(long, default_value = "users")]
    pub(crate) capability: String,
    /// Only legacy tables whose names begin like this. Repeat for more.
    #[arg(long = "tables")]
    pub(crate) tables: Vec<String>,
}

/// What `check` looks at.
#[derive(Debug, ClapArgs)]
pub(crate) struct Check {
    /// Check this directory instead of the configured one.
    #[arg(long)]
    pub(crate) rules: Option<PathBuf>,
    /// Look at the databases too: settings, rights, keys, triggers, references, and rows that would not survive.
    #[arg(long)]
    pub(crate) live: bool,
    /// With --live: this capability alone.
    #[arg(long, requires = "live")]
    pub(crate) capability: Option<String>,
    /// With --live: look at so many rows of each table at most; 0 looks at none.
    #[arg(long, requires = "live", default_value_t = 100_000)]
    pub(crate) rows: u64,
    /// With --live: name the keys of so many rows for each finding.
    #[arg(long, requires = "live", default_value_t = 5)]
    pub(crate) samples: usize,
}

/// A wish about one capability.
#[derive(Debug, ClapArgs)]
pub(crate) struct Wish {
    /// The capability.
    pub(crate) capability: String,
    /// Why; stands in the journal.
    #[arg(long, default_value = "")]
    pub(crate) reason: String,
    /// Wait until it is done, at most this long, like 30s.
    #[arg(long, value_parser = duration)]
    pub(crate) wait: Option<std::time::Duration>,
}

/// A way back.
#[derive(Debug, ClapArgs)]
pub(crate) struct Revert {
    #[command(flatten)]
    pub(crate) wish: Wish,
    /// Although rows are set aside: they stay so, and are not on legacy. Says which, and asks.
    #[arg(long)]
    pub(crate) leave_set_aside: bool,
    /// Do not ask.
    #[arg(long, requires = "leave_set_aside")]
    pub(crate) yes: bool,
}

/// A hold that is taken away.
#[derive(Debug, ClapArgs)]
pub(crate) struct Release {
    #[command(flatten)]
    pub(crate) wish: Wish,
    /// Which hold; without it the one that `--reason` names, without both all of them.
    #[arg(long)]
    pub(crate) hold: Option<String>,
}

/// What `explain` asks.
#[derive(Debug, ClapArgs)]
pub(crate) struct Explain {
    /// Method.
    #[arg(required_unless_present = "diff", default_value = "", hide_default_value = true)]
    pub(crate) method: String,
    /// Path with query.
    #[arg(required_unless_present = "diff", default_value = "", hide_default_value = true)]
    pub(crate) target: String,
    /// Hold the rules that serve against those of this directory.
    #[arg(long, requires = "requests", conflicts_with_all = ["method", "target", "headers", "user", "anonymous"])]
    pub(crate) diff: Option<PathBuf>,
    /// With --diff: a log of requests that were made; `-` is standard input.
    #[arg(long, requires = "diff")]
    pub(crate) requests: Option<PathBuf>,
    /// With --diff: show so many requests of each kind of change.
    #[arg(long, requires = "diff", default_value_t = 5)]
    pub(crate) samples: usize,
    /// Host; with --diff of requests whose host the log does not have.
    #[arg(long, default_value = "")]
    pub(crate) host: String,
    /// A header, like 'x-tenant: north'. Repeat for more.
    #[arg(long = "header", short = 'H')]
    pub(crate) headers: Vec<String>,
    /// The logged-in user's id. A session cookie is not looked up: without this, its caller is explained as a stranger.
    #[arg(long)]
    pub(crate) user: Option<String>,
    /// A role of that user; may be given several times
    #[arg(long = "role", value_name = "ROLE", requires = "user")]
    pub(crate) roles: Vec<String>,
    /// The id in the gateway's anonymous cookie.
    #[arg(long)]
    pub(crate) anonymous: Option<String>,
    /// By the local files alone, as if nothing had moved yet.
    #[arg(long)]
    pub(crate) offline: bool,
}

/// A pin.
#[derive(Debug, ClapArgs)]
pub(crate) struct Pin {
    /// The capability.
    pub(crate) capability: String,
    /// Where its reads go.
    #[arg(required_unless_present = "clear")]
    pub(crate) side: Option<SideArg>,
    /// Only for this user.
    #[arg(long)]
    pub(crate) user: Option<String>,
    /// For how long, like 30s or 1h; for ever without it.
    #[arg(long = "for", value_parser = whole_seconds)]
    pub(crate) lasts: Option<std::time::Duration>,
    /// Why.
    #[arg(long, default_value = "")]
    pub(crate) reason: String,
    /// Take the pin away.
    #[arg(long, conflicts_with = "side")]
    pub(crate) clear: bool,
}

/// A flag's override.
#[derive(Debug, ClapArgs)]
pub(crate) struct Flag {
    /// The flag; without one, all of them are shown.
    #[arg(requires = "value")]
    pub(crate) name: Option<String>,
    /// Its value for everybody: on, off or a variant; `clear` ends what was set.
    pub(crate) value: Option<String>,
    /// For how long, like 30s or 1h; for ever without it.
    #[arg(long = "for", value_parser = whole_seconds)]
    pub(crate) lasts: Option<std::time::Duration>,
    /// Why.
    #[arg(long, default_value = "")]
    pub(crate) reason: String,
}

/// Files that have a schema.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum SchemaOf {
    Rules,
    Flags,
    Ficus,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum SideArg {
    Legacy,
    Modern,
}

impl From<SideArg> for Side {
    fn from(side: SideArg) -> Side {
        match side {
            SideArg::Legacy => Side::Legacy,
            SideArg::Modern => Side::Modern,
        }
    }
}

/// `500ms`, `30s`, `15m`, `1h`, `7d`.
pub(crate) fn duration(text: &str) -> Result<std::time::Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let wrong = || format!("`{text}` is not a duration: write it like 500ms, 30s, 15m, 1h or 7d");
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(wrong()),
    };
    number.checked_mul(millis).map(std::time::Duration::from_millis).ok_or_else(wrong)
}

/// A duration that the admin API can be told: it counts in seconds.
fn whole_seconds(text: &str) -> Result<std::time::Duration, String> {
    let time = duration(text)?;
    if time.is_zero() || time.subsec_nanos() != 0 {
        return Err(format!("`{text}` is not a number of whole seconds, at least one: write it like 30s, 15m or 1h"));
    }
    Ok(time)
}

/// A size: `512B`, `64KiB`, `8MiB`, `2GiB`.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let wrong = || format!("`{text}` is not a size: write it like 512B, 64KiB, 8MiB or 2GiB");
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let bytes = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(wrong()),
    };
    number.checked_mul(bytes).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::Args;

    #[test]
    fn sizes_have_a_unit() {
        let sizes = ["512B", "64KiB", "8MiB", "2GiB"].map(|text| super::size(text).ok());
        assert_eq!(sizes, [Some(512), Some(65_536), Some(8 << 20), Some(2 << 30)]);
        for wrong in ["", "64", "KiB", "64kb", "-1B", "64 KiB", "99999999999GiB"] {
            assert!(super::size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn overrides_last_for_whole_seconds() {
        let typed = |time: &str| Args::try_parse_from(["ficus", "pin", "users", "legacy", "--for", time]).map(drop);
        for good in ["1s", "90s", "15m", "1000ms"] {
            assert!(typed(good).is_ok(), "{good}");
        }
        for wrong in ["500ms", "1500ms", "0s", "0ms"] {
            let said = typed(wrong).expect_err("it would be over at once, or sooner than asked for").to_string();
            assert!(said.contains("whole seconds"), "{said}");
            assert!(Args::try_parse_from(["ficus", "flag", "x", "on", "--for", wrong]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_journal_is_not_cut_short_in_silence() {
        let asked = |limit: &str| Args::try_parse_from(["ficus", "journal", "--limit", limit]).is_ok();
        assert_eq!((asked("1"), asked("1000"), asked("1001"), asked("0")), (true, true, false, false));
    }

    /// The help of a command and of those below it; every one shows examples.
    fn helps(command: &clap::Command, helps: &mut Vec<String>) {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        assert!(help.contains("ficus "), "`{}` has no example", command.get_name());
        helps.push(help);
        command.get_subcommands().for_each(|below| self::helps(below, helps));
    }

    /// The words of a line as a shell takes them, up to a pipe, a redirection, the next command or a remark (two spaces).
    fn words(line: &str) -> Vec<String> {
        let line = line.trim();
        let end = ["  ", " | ", " > ", " && "].iter().filter_map(|end| line.find(end)).min().unwrap_or(line.len());
        let unquoted = |part: &str| part.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect::<Vec<_>>();
        let parts = line[..end].split('\'').enumerate();
        parts.flat_map(|(at, part)| if at % 2 == 1 { vec![part.to_owned()] } else { unquoted(part) }).collect()
    }

    #[test]
    fn every_command_shows_examples_that_it_takes() {
        let mut all = Vec::new();
        helps(&Args::command(), &mut all);
        let lines = all.iter().flat_map(|help| help.lines()).flat_map(|line| line.split(" && "));
        let examples: Vec<_> = lines.filter(|line| line.trim_start().starts_with("ficus ")).collect();
        assert!(examples.len() > all.len(), "{examples:#?}");
        for example in examples {
            let taken = Args::try_parse_from(words(example));
            assert!(taken.is_ok(), "`{example}`: {}", taken.expect_err("it is not"));
        }
    }
}

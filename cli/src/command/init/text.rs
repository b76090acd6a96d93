//! The files as they are written. Whatever nobody can know stands as a remark beside what is assumed.

use std::fmt::Write as _;

use super::SCHEMA_OF_RULES;
use super::found::{Database, Project, Session};
use super::propose::{Capability, Proposal};
use crate::args::Init;

/// Where new services are assumed, one after the other.
const FIRST_PORT: usize = 8101;

/// `ficus.toml`.
pub(super) fn configuration(project: &Project, proposal: &Proposal<'_>, asked: &Init) -> String {
    let mut text = format!(
        "#:schema ./schema/ficus.schema.json\n# Proposed by `ficus init` from a {} {} project. The process: needs a restart; the rules in rules/ do not.\n\
         # Everything is served by the monolith until somebody types `ficus advance CAPABILITY`.\n\n\
         [gateway]\nlisten = [{}]\ndefault = \"monolith\"                     # serves whatever no rule speaks of\n\n\
         [orchestrator]\nlisten = \"127.0.0.1:7070\"                # the admin API and the console\n\n\
         [upstream.monolith]\naddress = {}\n",
        project.framework,
        project.version,
        quoted(&asked.listen),
        quoted(&asked.address)
    );
    text += &database(&project.database);
    for (at, capability) in proposal.capabilities.iter().enumerate() {
        let name = &capability.name;
        let _ = write!(
            text,
            "\n# To be written; nothing is sent there before `ficus advance {name}`.\n[upstream.{name}-service]\n\
             address = \"127.0.0.1:{}\"\n# health = \"/health/\"                   # nothing is switched to a service that is not well\n\
             # database = \"postgres://ficus@127.0.0.1/{name}?password_file=/run/secrets/{name}-db\"\n",
            FIRST_PORT + at
        );
    }
    text += &match (&project.session, &project.cookie) {
        (Some(session), _) => identity(session),
        (None, Some(cookie)) => format!(
            "\n# Flask's own sessions (cookie {cookie}) are signed, not stored: cohorts go by the cookie, and services get no token.\n"
        ),
        (None, None) => String::new(),
    };
    if !proposal.homeless.is_empty() {
        let tables: Vec<String> = proposal.homeless.iter().map(|table| remark(table)).collect();
        let _ = write!(text, "\n# Tables of no capability, for no route is of their part of the project: {}\n", tables.join(", "));
    }
    if !proposal.staying.is_empty() {
        text += "\n# Of no capability, and served by the monolith for good unless a rule says otherwise:\n";
        proposal.staying.iter().for_each(|path| text += &format!("#   {}\n", remark(path)));
    }
    text
}

fn database(database: &Database) -> String {
    let Database { name, host, port, user, .. } = database;
    let scheme = match database.engine.as_str() {
        "sqlite" if name.starts_with('/') => return format!("database = {}\n", quoted(&format!("sqlite://{name}"))),
        "sqlite" | "" => return "# database = \"sqlite:///srv/app/db.sqlite3\"    # none was found\n".to_owned(),
        "postgres" => "postgres",
        "mysql" => "mysql",
        other => return format!("# database: {} is none that the sync agent reads\n", remark(other)),
    };
    let port = if port.is_empty() { String::new() } else { format!(":{port}") };
    let password = if database.password { "?password_file=/run/secrets/monolith-db" } else { "" };
    let url = format!("{scheme}://{}@{host}{port}/{name}{password}", if user.is_empty() { "ficus" } else { user });
    format!(
        "# The agent needs a role that may read the log (see `ficus check --live`) and, if it has one, its password in a file:\n# database = {}\n",
        quoted(&url)
    )
}

fn identity(session: &Session) -> String {
    let kind = session.engine.strip_prefix("django.contrib.sessions.backends.");
    let kind = kind.filter(|kind| ["db", "cached_db", "file", "signed_cookies"].contains(kind));
    let mut text =
        String::from("\n# Who is logged in: put Django's SECRET_KEY into a file that only ficus can read, then take the marks away.\n");
    if kind.is_none() {
        let _ = writeln!(text, "# Sessions are in {}, which cannot be read: cohorts go by cookie.", remark(&session.engine));
    }
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "# {name} = {value}");
    };
    line("[identity.django]\n# upstream", "\"monolith\"".to_owned());
    line("secret_key_file", "\"/run/secrets/django-secret-key\"".to_owned());
    if let Some(kind) = kind.filter(|kind| *kind != "db") {
        line("sessions", quoted(kind));
    }
    if kind == Some("file") {
        line("session_files", "\"/srv/app/sessions\"    # SESSION_FILE_PATH".to_owned());
    }
    line("session_cookie", quoted(&session.cookie));
    line("csrf_cookie", quoted(&session.csrf_cookie));
    if !session.csrf_header.eq_ignore_ascii_case("x-csrftoken") {
        line("csrf_header", quoted(&session.csrf_header));
    }
    line("user_table", quoted(&session.user_table));
    line("id_column", quoted(&session.id_column));
    line("username_column", quoted(&session.username_column));
    if let Some(active) = &session.active_column {
        line("active_column", quoted(active));
    }
    if !session.trusted_origins.is_empty() {
        let origins: Vec<String> = session.trusted_origins.iter().map(|origin| quoted(origin)).collect();
        line("trusted_origins", format!("[{}]", origins.join(", ")));
    }
    text
}

/// The rule file of a capability.
pub(super) fn rules(capability: &Capability<'_>, project: &Project) -> String {
    let name = &capability.name;
    let depends: Vec<String> = capability.depends_on.iter().map(|other| quoted(other)).collect();
    let mut text = format!(
        "#:schema {SCHEMA_OF_RULES}\n# Proposed by `ficus init`. Nothing moves before `ficus advance {name}`; look first at every line.\n\n\
         [capability]\nname = {}\ndescription = \"The {} {name}\"\nlegacy = \"monolith\"\nmodern = \"{name}-service\"\n",
        quoted(name),
        if project.framework == "Django" { "app" } else { "part" }
    );
    if !depends.is_empty() {
        let _ = writeln!(text, "depends_on = [{}]        # its tables refer to theirs: retiring waits for them", depends.join(", "));
    }
    for path in &capability.routes {
        let _ = write!(text, "\n[[route]]\npath = {}\n", quoted(path));
    }
    if !capability.admin.is_empty() {
        text += "\n# Django's admin knows the monolith's tables only: its writes are held by a fence, and refused once the service owns them.\n";
    }
    for path in &capability.admin {
        let _ = write!(text, "[[route]]\npath = {}\npin = \"legacy\"\nwrites_tables = true\n", quoted(path));
    }
    let cookie = project.session.as_ref().map(|session| &session.cookie).or(project.cookie.as_ref());
    let unit = cookie.map_or(String::new(), |cookie| format!("{}, ", quoted(&format!("cookie:{cookie}"))));
    let user = if project.session.is_some() { "\"user\", " } else { "" };
    let _ = write!(text, "\n[cohort]\nby = [{user}{unit}\"anonymous\"]\n{STEPS}");
    if !capability.crossing.is_empty() {
        text +=
            "\n# Foreign keys that lead out of it, or into it: the monolith goes on joining these tables until both sides have moved.\n";
    }
    for crossing in &capability.crossing {
        let (table, key) = (&crossing.from.name, crossing.key);
        let from = if crossing.inwards { format!("   of {}", crossing.from.group) } else { String::new() };
        let _ = writeln!(text, "#   {}.{} -> {} of {}{from}", remark(table), remark(&key.column), remark(&key.table), remark(&key.group));
    }
    if !capability.tables.is_empty() {
        text += "\n# Names of the new service's tables are assumed to be the same; columns of one name follow by themselves.";
        text.push('\n');
    }
    for table in &capability.tables {
        let Some(key) = &table.key else {
            let _ = writeln!(text, "# {} has no single column as its key: it cannot be kept equal as it is.", remark(&table.name));
            continue;
        };
        let _ = write!(text, "\n[[table]]\nlegacy = {}\nmodern = {}\n", quoted(&table.name), quoted(&table.name));
        if key != "id" {
            let _ = writeln!(text, "key = {}", quoted(key));
        }
    }
    if let Some(path) = capability.routes.iter().find(|path| !path.contains('{')) {
        let _ = write!(text, "\n[[test]]\nrequest = {}\nat = \"start\"\nexpect = \"legacy\"\n", quoted(&format!("GET {path}")));
    }
    text
}

const STEPS: &str = r#"
[[step]]
shadow = "100%"                     # copies of the reads, compared and dropped
hold = "1h"

[[step]]
reads = "5%"
hold = "1h"

[[step]]
reads = "100%"
hold = "1d"

[[step]]
cutover = true
approve = true                      # waits for `ficus approve`

[[step]]
soak = "7d"
compare = "1%"                      # of so many reads legacy is asked, too

[gate.errors]
max_increase = "0.5%"
min_requests = 200

[gate.latency_p99]
max_ratio = 1.5
max = "1s"                          # what is left to judge by once nobody asks legacy any more
min_requests = 200

[gate.shadow]
max_different = "0.1%"
min_requests = 200

[gate.lag]
max = "2s"

[gate.parity]
max_drift_rows = 0
"#;

/// A string of TOML.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// Inside a remark: on one line.
fn remark(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

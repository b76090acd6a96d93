//! Broken rule files: each is refused, with a complaint at the marked line that says what is wrong, and a hint.
//! `#!` marks the line at which the complaint stands.

use ficus_rules::spec::{Complaint, Known, load};
use ficus_rules::wire::RuleFile;

/// The head of a file that is right.
const HEAD: &str = "[capability]\nname = \"users\"\nlegacy = \"monolith\"\nmodern = \"users-service\"\n";
/// A file that is right, without warnings.
const FINE: &str = "[capability]\nname = \"users\"\nlegacy = \"monolith\"\nmodern = \"users-service\"\n
[[route]]\npath = \"/users/{*rest}\"\n
[[step]]\ncutover = true\n[[step]]\nsoak = \"7d\"\n
[gate.errors]\nmax_increase = \"1%\"\n
[[test]]\nrequest = \"GET /users/1\"\nat = \"cutover\"\nexpect = \"modern\"\n";

fn check(files: &[(&str, &str)]) -> Result<Vec<Complaint>, Vec<Complaint>> {
    let files: Vec<RuleFile> = files.iter().map(|(name, text)| RuleFile { name: (*name).to_owned(), text: (*text).to_owned() }).collect();
    let known = Known { upstreams: ["monolith", "users-service", "courses-service"].map(str::to_owned).into(), ..Known::default() };
    load(&files, &known).map(|checked| checked.warnings)
}

fn marked(files: &[(&str, &str)]) -> (String, usize) {
    let lines = files.iter().flat_map(|(name, text)| text.lines().enumerate().map(move |(at, line)| (*name, at + 1, line)));
    let mut marked = lines.filter(|(_, _, line)| line.contains("#!")).map(|(name, line, _)| (name.to_owned(), line));
    let first = marked.next().expect("a marked line");
    assert_eq!(marked.next(), None, "one mark each");
    first
}

fn refused(files: &[(&str, &str)], fragment: &str) {
    let (file, line) = marked(files);
    let complaints = match check(files) {
        Ok(warnings) => panic!("`{fragment}` was not found, the files may be served; warnings: {warnings:?}"),
        Err(complaints) => complaints,
    };
    let fits = |c: &&Complaint| !c.warning && c.file == file && c.line == line && c.message.contains(fragment);
    let found = complaints.iter().find(fits);
    let shown: Vec<String> = complaints.iter().map(ToString::to_string).collect();
    let found = found.unwrap_or_else(|| panic!("no `{fragment}` at {file}:{line} among:\n{}", shown.join("\n")));
    assert!(!found.hint.is_empty(), "{found} has no hint");
    assert!(found.column >= 1);
}

/// What follows the head of a file, and a part of the message.
const BODIES: &[(&str, &str)] = &[
    // Spellings and types.
    ("[[route]]\npath = \"/a\"\nmethdos = [\"GET\"] #!", "`methdos` is not a key of [[route]]"),
    ("[[rout]] #!\npath = \"/a\"", "`rout` is not a key of the file"),
    ("[cohort]\nbye = [\"user\"] #!", "`bye` is not a key of [cohort]"),
    ("[gate.eror] #!\nmax_increase = \"1%\"", "`eror` is not a key"),
    ("[gate.lag]\nmaxx = \"1s\" #!", "`maxx` is not a key"),
    ("[[route]]\npath = 7 #!", "`path` is 7, not a string"),
    ("[[route]]\npath = \"/a\"\ncsrf = \"no\" #!", "`csrf` is \"no\", not true or false"),
    ("[[route]]\npath = \"/a\"\ntimeout = 30 #!", "`timeout` is 30, not a duration"),
    ("[[route]]\npath = \"/a\"\ntimeout = \"30 s\" #!", "not a duration"),
    ("[[route]]\npath = \"/a\"\ntimeout = \"0s\" #!", "fails every request"),
    ("[[route]]\npath = \"/a\"\ndeadlines = { whole = \"1s\" } #!", "`whole` is not a key"),
    ("[[route]]\npath = \"/a\"\ndeadlines = { total = \"0s\" } #!", "fails every request"),
    ("[[route]]\npath = \"/a\"\ndeadlines = { total = \"1s\", first_byte = \"2s\" } #!", "`first_byte` is longer than `total`"),
    ("[[route]]\npath = \"/a\"\ntimeout = \"1s\" #!\ndeadlines = { idle = \"1s\", first_byte = \"2s\" }", "`timeout` says nothing"),
    ("[[route]]\npath = \"/a\"\nfallback_on = 404 #!", "not a list of statuses"),
    ("[[route]]\npath = \"/a\"\nfallback_on = [200] #!", "not a list of statuses"),
    ("[[route]]\npath = \"/a\"\nfallback_on = [] #!", "not a list of statuses"),
    ("[[route]]\npath = \"/a\"\nfallback = false\nfallback_on = [404] #!", "beside `fallback = false`"),
    ("[[route]]\npath = \"/a\"\npin = \"legacy\"\nfallback_on = [404] #!", "never falls back"),
    ("[[route]]\npath = \"/a\"\nmethods = [\"POST\", \"PUT\"]\nfallback_on = [404] #!", "a write is never sent to legacy"),
    (
        "[[route]]\npath = \"/a\"\nmethods = [\"GET\"]\nfallback_on = [404] #!\n[route.plugins.request_size]\nmax = \"65KiB\"",
        "with which nothing falls back",
    ),
    (
        "[plugins.request_size]\nmax = \"65KiB\"\n[[route]]\npath = \"/a\"\nmethods = [\"GET\"]\nfallback_on = [404] #!",
        "with which nothing falls back",
    ),
    ("[[route]]\npath = \"/a\"\nmethods = [\"POST\"]\nshadow = true #!", "is made twice"),
    ("[[route]]\npath = \"/a\"\nmethods = [\"GET\"]\ndry_run = true #!", "nothing to rehearse"),
    ("[[route]]\npath = \"/a\"\npin = \"legacy\"\ndry_run = true #!", "nothing of a pinned route"),
    ("[[route]]\npath = \"/a\"\nshadow = false\ndry_run = true #!", "beside `shadow = false`"),
    ("[[route]]\npath = \"/a\"\ndry_run = 1 #!", "`dry_run` is 1, not true or false"),
    ("[[route]]\npath = \"/a\"\ncache = { by_default = \"1m\" } #!", "has no `at_most`"),
    ("[[route]]\npath = \"/a\"\ncache = { at_most = \"0s\" } #!", "keeps nothing"),
    ("[[route]]\npath = \"/a\"\ncache = { at_most = \"1m\", by_default = \"2m\" } #!", "`by_default` is longer"),
    ("[[route]] #!\npath = \"/a\"\nmethods = [\"POST\"]\ncache = { at_most = \"1m\" }", "only answers to GET are kept"),
    ("[route] #!\npath = \"/a\"", "`route` is a table, not a list of sections"),
    ("[[cohort]] #!\nby = [\"user\"]", "`cohort` is a list, not a table"),
    // Routes.
    ("[[route]] #!\nmethods = [\"GET\"]", "[[route]] has no `path`"),
    ("[[route]]\npath = \"\" #!", "`path` is empty"),
    ("[[route]]\npath = \"users/\" #!", "not a path pattern"),
    ("[[route]]\npath = \"/users/{*rest}/x\" #!", "nothing may follow"),
    ("[[route]]\npath = \"/users/{id\" #!", "stands for a whole segment"),
    ("[[route]]\npath = \"/users/x{id}\" #!", "stands for a whole segment"),
    ("[[route]]\npath = \"/users/{}\" #!", "a name is made of"),
    ("[[route]]\npath = \"/{a}/{a}\" #!", "stands in it twice"),
    ("[[route]]\npath = \"/a/../b\" #!", "once it is normalised"),
    ("[[route]]\npath = \"/a?b=c\" #!", "query or fragment"),
    ("[[route]]\npath = \"/a\"\nmethods = [\"get\"] #!", "`get` is not a method"),
    ("[[route]]\npath = \"/a\"\nmethods = [\"CONNECT\"] #!", "`CONNECT` is not a method"),
    ("[[route]]\npath = \"/a\"\nhost = \"school.test:80\" #!", "not a host name"),
    ("[[route]]\npath = \"/a\"\nhost = \"*.school.test\" #!", "not a host name"),
    ("[[route]]\npath = \"/a\"\nheaders = { \"x y\" = \"1\" } #!", "not a header's name"),
    ("[[route]]\npath = \"/a\"\n[route.headers]\nX-A = \"1\"\nx-b = \"1\"\nx-a = \"2\" #!", "stands in it twice"),
    ("[[route]]\npath = \"/a\"\nheaders = { x-a = 1 } #!", "not a condition"),
    ("[[route]]\npath = \"/a\"\nheaders = { x-a = { prefix = \"a\", present = true } } #!", "more than one condition"),
    ("[[route]]\npath = \"/a\"\nquery = { a = { prefx = \"a\" } } #!", "`prefx` is not a key of a condition"),
    ("[[route]]\npath = \"/a\"\nquery = { a = {} } #!", "`a` has no condition"),
    ("[[route]]\npath = \"/a/{id}\"\nmodern_path = \"b/{id}\" #!", "does not begin with `/`"),
    ("[[route]]\npath = \"/a/{id}\"\nmodern_path = \"/b/{uid}\" #!", "the path does not have `{uid}`"),
    ("[[route]]\npath = \"/a/{id}\"\nmodern_path = \"/b/{id\" #!", "braces"),
    ("[[route]]\npath = \"/a/{id}\"\nmodern_path = \"/b/{id}?x=1\" #!", "a path alone"),
    ("[[route]]\npath = \"/a\"\npin = \"legcy\" #!", "not a side"),
    ("[[route]]\npath = \"/a\"\npin = \"legacy\"\nmodern_path = \"/b\" #!", "never takes its `modern_path`"),
    ("[[route]] #!\npath = \"/a\"\nwrites_tables = true", "only for pinned routes"),
    ("[[route]]\npath = \"/a\"\nflag = \"nope\" #!", "there is no flag `nope`"),
    ("[[route]]\npath = \"/a\"\npin = \"legacy\"\nflag = \"nope\" #!", "never looks at its flag"),
    ("[[route]]\npath = \"/a/{x}\"\n[[route]] #!\npath = \"/a/{y}\"", "no request reaches this route"),
    (
        "[[route]]\npath = \"/a\"\nmethods = [\"GET\", \"POST\"]\n[[route]] #!\npath = \"/a\"\nmethods = [\"POST\"]",
        "no request reaches this route",
    ),
    (
        "[[route]]\npath = \"/a\"\nheaders = { x-a = { present = true } }\n[[route]] #!\npath = \"/a\"\nheaders = { x-a = \"1\" }",
        "no request reaches",
    ),
    // Expressions.
    ("[[route]]\npath = \"/a/{id:[0-9}\" #!", "not a path pattern"),
    ("[[route]]\npath = \"/a/{id:(?=x)}\" #!", "look-around"),
    ("[[route]]\npath = \"/a/{id:[0-9]+}\"\n[[route]] #!\npath = \"/a/{year:[0-9]{4}}\"", "no request reaches this route"),
    ("[[route]]\npath = \"/a/{id:.+}\"\n[[route]] #!\npath = \"/a/{any}\"", "no request reaches this route"),
    ("[[route]]\npath = \"/a/{*doc:.*}\"\n[[route]] #!\npath = \"/a/{*rest}\"", "no request reaches this route"),
    // What comparisons leave out.
    ("[gate.shadow]\nunordered = [\"tags\"] #!", "`tags` is not a JSON path"),
    ("[gate.shadow]\nredact = [\"header:location\"] #!", "is not a JSON path"),
    ("[gate.shadow]\nignore = [\"html:p\"] #!", "pages are not compared"),
    ("[gate.shadow]\nignore = [\"cookie:a b\"] #!", "is not a cookie's name"),
    ("[gate.shadow]\ntolerate = { score = 0.1 } #!", "`score` is not a JSON path"),
    ("[gate.shadow.tolerate]\n\"$.score\" = 0 #!", "not a tolerance"),
    ("[gate.shadow.tolerate]\n\"$.at\" = \"soon\" #!", "not a tolerance"),
    // Cohort.
    ("[cohort] #!", "[cohort] has no `by`"),
    ("[cohort]\nby = [\"usr\"] #!", "does not identify a caller"),
    ("[cohort]\nby = [\"cookie:\"] #!", "does not identify a caller"),
    ("[cohort]\nby = [\"user\", \"user\"] #!", "stands in it twice"),
    // Steps.
    ("[[step]] #!\nhold = \"1m\"", "the step does nothing"),
    ("[[step]] #!\nreads = \"5%\"\nshadow = \"5%\"", "the step has `shadow` and `reads`"),
    ("[[step]]\nreads = 5 #!", "not a percentage"),
    ("[[step]]\nreads = \"5\" #!", "not a percentage"),
    ("[[step]]\nreads = \"150%\" #!", "more than 100%"),
    ("[[step]]\nreads = \"0%\" #!", "of nothing is no step"),
    ("[[step]]\nreads = \"50%\"\n[[step]] #!\nreads = \"5%\"\n[[step]]\ncutover = true", "the reads shrink from 50% to 5%"),
    ("[[step]]\ncutover = false #!", "a cutover that is none"),
    ("[[step]]\ncutover = true\n[[step]] #!\ncutover = true", "a second cutover"),
    ("[[step]]\ncutover = true\n[[step]] #!\nreads = \"100%\"", "after the cutover modern serves everything"),
    ("[[step]] #!\nsoak = \"1d\"", "a soak without a cutover"),
    ("[[step]]\ncutover = true\n[[step]]\nsoak = \"1d\"\n[[step]] #!\nsoak = \"1d\"", "a step after the soak"),
    ("[[step]]\ncutover = true\n[[step]]\nsoak = \"1d\"\nhold = \"1h\" #!", "`hold` has no meaning"),
    ("[[step]]\nshadow = \"100%\"\n[[step]] #!\nreads = \"100%\"", "no step has `cutover = true`"),
    ("[[step]]\nreads = \"5%\"\ncompare = \"5%\" #!", "`compare` is of a soak"),
    // Gates.
    ("[gate.errors] #!\nmin_requests = 5", "[gate.errors] has no `max_increase`"),
    ("[gate.latency_p99]\nmax_ratio = \"1.2\" #!", "`max_ratio` is \"1.2\", not a number"),
    ("[gate.latency_p99]\nmax_ratio = 0 #!", "lets nothing pass"),
    ("[gate.latency_p50] #!\nmin_requests = 5", "[gate.latency_p50] has no `max_ratio`"),
    ("[gate.latency_p90]\nmax_ratio = 1.2\nfloor = \"1s\"\nmax = \"20ms\" #!", "they meet"),
    ("[gate.latency_p95]\nmax_ratio = 1.2\nfailures = 3 #!\nwindows = 2", "3 of 2 windows can't fail"),
    ("[gate.latency_p42] #!\nmax_ratio = 1.2", "latency_p42"),
    ("[gate.shadow]\nignore = [\"updated_at\"] #!", "not a JSON path"),
    ("[gate.shadow]\nignore = [\"header:Location\", \"header:date\"] #!", "the header `date` is not compared"),
    ("[gate.parity]\nmax_drift_rows = -1 #!", "not a whole number from 0 on"),
    ("[gate.lag]\nmax = \"2 seconds\" #!", "not a duration"),
    // Tables.
    // Events.
    (
        "[[table]]\nlegacy = \"a\"\nmodern = \"b\"\n[[event]]\ntable = \"bb\" #!\nto = \"bus\"\nupdated = \"b.updated\"",
        "no `[[table]]` of this capability has the modern table `bb`",
    ),
    ("[[event]]\ntable = \"b\" #!\nto = \"bus\"\nupdated = \"b.updated\"", "no `[[table]]` of this capability has the modern table `b`"),
    ("[[table]]\nlegacy = \"a\"\nmodern = \"b\"\n[[event]] #!\nto = \"bus\"\nupdated = \"b.updated\"", "[[event]] has no `table`"),
    ("[[table]]\nlegacy = \"a\"\nmodern = \"b\"\n[[event]] #!\ntable = \"b\"\nupdated = \"b.updated\"", "[[event]] has no `to`"),
    ("[[table]]\nlegacy = \"a\"\nmodern = \"b\"\n[[event]] #!\ntable = \"b\"\nto = \"bus\"", "an event without a type tells nothing"),
    (
        "[[table]]\nlegacy = \"a\"\nmodern = \"b\"\n[[event]]\ntable = \"b\"\nto = \"bus\"\nupdated = \"b..updated\" #!",
        "`b..updated` cannot name an event",
    ),
    (
        "[[table]]\nlegacy = \"a\"\nmodern = \"b\"\n[[event]]\ntable = \"b\"\nto = \"bus\"\nchanged = \"b.updated\" #!\nupdated = \"b\"",
        "`changed` is not a key of [[event]]",
    ),
    (
        "[[table]]\nlegacy = \"a\"\nmodern = \"b\"\n[[event]]\ntable = \"b\"\nto = \"bus\"\nupdated = \"b.updated\"\nsubject = \"email\" #!",
        "`email` cannot be told of a row that is deleted",
    ),
    (
        "[[table]]\nlegacy = \"a\"\nmodern = \"b\"\n[[event]]\ntable = \"b\"\nto = \"bus\"\nupdated = \"b.updated\"\ncolumns = [\"*\"] #!",
        "cannot name a table or column",
    ),
    (
        "[[table]]\nlegacy = \"a\"\nmodern = \"b\"\n[table.columns]\nid = { from = \"id\", as = \"uuid5\" }\nk = { constant = \"1\" }\n[[table]]\nlegacy = \"c\"\nmodern = \"b\"\n[table.columns]\nid = { from = \"id\", as = \"uuid5\" }\nk = { constant = \"2\" }\n[[event]]\ntable = \"b\" #!\nto = \"bus\"\nupdated = \"b.updated\"",
        "their keys may be the same",
    ),
    (
        "[[table]]\nlegacy = \"a\"\nmodern = \"b\"\n[table.columns]\nid = { from = \"id\", as = \"uuid5\" }\nk = { constant = \"1\" }\n[[table]]\nlegacy = \"c\"\nmodern = \"b\"\n[table.columns]\nid = { from = \"id\", as = \"uuid5\" }\nk = { constant = \"2\" }\n[[event]]\ntable = \"b\"\nto = \"bus\"\nupdated = \"b.updated\"\nsubject = \"k\" #!",
        "`k` cannot be told",
    ),
    ("[[table]] #!\nmodern = \"users\"", "[[table]] has no `legacy`"),
    ("[[table]]\nlegacy = \"a\"\nmodern = \"b; drop\" #!", "cannot name a table or column"),
    ("[[table]]\nlegacy = \"a\"\nmodern = \"b\"\n[table.columns]\nid = { from = \"id\", as = \"uuid4\" } #!", "`as` is \"uuid4\""),
    ("[[table]]\nlegacy = \"a\"\nmodern = \"b\"\n[table.columns]\nuser = { from = \"user_id\", as = \"uuid5\" } #!", "which table's key"),
    (
        "[[table]]\nlegacy = \"a\"\nmodern = \"b\"\n[table.columns]\nuser = { from = \"user_id\", as = \"uuid5\", of = \"u\" } #!",
        "does not map",
    ),
    ("[[table]]\nlegacy = \"a\"\nmodern = \"b\"\n[table.columns]\nx = { from = \"x\", map = { 1 = \"a\", 2 = \"a\" } } #!", "no way back"),
    ("[[table]]\nlegacy = \"a\"\nmodern = \"b\"\n[table.columns]\nx = { from = \"x\", map = {} } #!", "the map has no values"),
    ("[[table]]\nlegacy = \"a\"\nmodern = \"b\"\n[table.columns]\nx = { constant = 1, from = \"y\" } #!", "a constant, and something else"),
    ("[[table]]\nlegacy = \"a\"\nmodern = \"b\"\n[table.columns]\nx = { of = \"y\" } #!", "does not say where it comes from"),
    ("[[table]]\nlegacy = \"a\"\nmodern = \"b\"\n[table.columns]\nx = 5 #!", "`x` is 5, not"),
    ("[[table]]\nlegacy = \"a\"\nmodern = \"b\"\n[table.columns]\nlegacy_id = \"id\" #!", "keeps the legacy key"),
    ("[[table]]\nlegacy = \"a\"\nmodern = \"b\"\n[table.columns]\nx = \"name\"\ny = \"name\" #!", "feeds two modern columns"),
    ("[[table]]\nlegacy = \"a\"\nmodern = \"b\"\nkeep_legacy = [\"id\"] #!", "cannot stay behind"),
    ("[[table]]\nlegacy = \"a\"\nmodern = \"b\"\nkeep_legacy = [\"x\"] #!\n[table.columns]\ny = \"x\"", "stays behind, and feeds"),
    ("[[table]]\nlegacy = \"a\"\nmodern = \"b\"\nkeep_modern = [\"y\"] #!\n[table.columns]\ny = \"x\"", "has a counterpart"),
    ("[[table]]\nlegacy = \"a\"\nmodern = \"b\"\n[[table]] #!\nlegacy = \"a\"\nmodern = \"c\"", "`a` is mapped twice"),
    ("[[table]]\nlegacy = \"a\"\nmodern = \"b\"\ncolumns.p = { pack = [] } #!", "packs nothing"),
    ("[[table]]\nlegacy = \"a\"\nmodern = \"b\"\ncolumns.p = { pack = [\"x\", \"x\"] } #!", "packs `x` twice"),
    ("[[table]]\nlegacy = \"a\"\nmodern = \"b\"\ncolumns.p = { pack = [\"x\"], from = \"y\" } #!", "has `pack`, and something else"),
    ("[[table]]\nlegacy = \"a\"\nmodern = \"b\"\ncolumns.p = { pack = [1] } #!", "`pack` is 1, not a string"),
    ("[[table]]\nlegacy = \"a\"\nmodern = \"b\"\n[table.columns]\np = { pack = [\"x\"] }\nq = \"x\" #!", "`x` feeds two modern columns"),
    (
        "[[table]]\nlegacy = \"a\"\nmodern = \"b\"\ncolumns.p = { from = \"x\", unpack = \"y\", zone = \"UTC\" } #!",
        "has `unpack`, and something else",
    ),
    (
        "[[table]]\nlegacy = \"a\"\nmodern = \"b\"\n[table.columns]\np = { from = \"x\", unpack = \"y\" }\nq = { from = \"x\", unpack = \"y\" } #!",
        "`x` feeds two modern columns",
    ),
    (
        "[[table]]\nlegacy = \"a\"\nmodern = \"b\"\nwhere = { x = 1 }\ncolumns.p = { pack = [\"x\"] } #!",
        "the same in every row of the pair, and feeds `p`",
    ),
    ("[[table]]\nlegacy = \"a\"\nmodern = \"b\"\n[table.columns]\nx = { from = \"x\", zone = \"Europe/Atlantis\" } #!", "no time zone"),
    ("[[table]]\nlegacy = \"a\"\nmodern = \"b\"\n[table.columns]\nx = { from = \"x\", zone = 1 } #!", "`zone` is 1, not a string"),
    (
        "[[table]]\nlegacy = \"a\"\nmodern = \"b\"\n[table.columns]\nx = { from = \"x\", zone = \"UTC\", map = { 1 = \"a\" } } #!",
        "has a `zone`, and is no time",
    ),
    (
        "[[table]]\nlegacy = \"a\"\nmodern = \"b\"\n[table.columns]\nx = { constant = 1, zone = \"UTC\" } #!",
        "a constant, and something else",
    ),
    ("[[table]]\nlegacy = \"a\"\nmodern = \"b\"\nwhere = { deleted = [true, false] } #!", "`deleted` is a list, not one value"),
    ("[[table]]\nlegacy = \"a\"\nmodern = \"b\"\nwhere = { deleted = { nul = true } } #!", "not a value or { null = true }"),
    ("[[table]]\nlegacy = \"a\"\nmodern = \"b\"\nwhere = {} #!", "it tests nothing"),
    (
        "[cutover] #!\nstray_writes = \"forward\"\n[[table]]\nlegacy = \"a\"\nmodern = \"b\"\nwhere = { x = 1 }",
        "cannot carry the rows of `a`, which has a `where`",
    ),
    (
        "[cutover] #!\nstray_writes = \"forward\"\n[[table]]\nlegacy = \"a\"\nmodern = \"b\"\ncolumns.gone = { constant = 0 }\nmodern_delete = { gone = 1 }",
        "cannot carry the rows of `a`, which marks rows instead of deleting them",
    ),
    (
        "[cutover] #!\nstray_writes = \"forward\"\n[[table]]\nlegacy = \"a\"\nmodern = \"b\"\n[[table]]\nlegacy = \"a\"\nmodern = \"c\"",
        "cannot carry the rows of `a`, which goes to several tables",
    ),
    ("[[table]]\nlegacy = \"a\"\nmodern = \"b\"\nwhere = { id = 1 } #!", "`id` is the key"),
    (
        "[[table]]\nlegacy = \"a\"\nmodern = \"b\"\nwhere = { deleted = false }\ncolumns.gone = \"deleted\" #!",
        "the same in every row of the pair, and feeds `gone`",
    ),
    (
        "[[table]]\nlegacy = \"a\"\nmodern = \"b\"\nwhere = { deleted = false } #!\nkeep_legacy = [\"deleted\"]",
        "stays behind, so that nobody sees",
    ),
    ("[[table]]\nlegacy = \"a\"\nmodern = \"b\"\nlegacy_delete = { deleted = true } #!", "nothing says what `deleted` is"),
    (
        "[[table]]\nlegacy = \"a\"\nmodern = \"b\"\nwhere = { deleted = true }\nlegacy_delete = { deleted = true } #!",
        "has this value in rows that are not deleted",
    ),
    (
        "[[table]]\nlegacy = \"a\"\nmodern = \"b\"\nwhere = { at = { null = true } }\nlegacy_delete = { at = { now = 1 } } #!",
        "not a value or { now = true }",
    ),
    (
        "[[table]]\nlegacy = \"a\"\nmodern = \"b\"\nmodern_delete = { gone = true } #!\ncolumns.gone = \"gone\"",
        "nothing says what `gone` is",
    ),
    (
        "[[table]]\nlegacy = \"a\"\nmodern = \"b\"\nwhere = { kind = 1 }\n[[table]] #!\nlegacy = \"a\"\nmodern = \"c\"\nwhere = { kind = 1 }",
        "`a` is mapped twice",
    ),
    ("[[table]]\nlegacy = \"a\"\nmodern = \"c\"\n[[table]] #!\nlegacy = \"b\"\nmodern = \"c\"", "nothing tells their rows apart"),
    (
        "[[table]] #!\nlegacy = \"a\"\nmodern = \"c\"\n[[table]]\nlegacy = \"b\"\nmodern = \"c\"\ncolumns.kind = { constant = 1 }",
        "nothing tells their rows apart",
    ),
    (
        "[[table]]\nlegacy = \"a\"\nmodern = \"b\"\ncolumns.p = { from = \"p\", as = \"uuid5\", of = \"p\" } #!\n[[table]]\nlegacy = \"p\"\nmodern = \"q\"",
        "mapped further down",
    ),
    ("[[table]]\nlegacy = \"a\"\nmodern = \"b\"\nzero_dates = \"1000-02-30\" #!", "`zero_dates` is \"1000-02-30\""),
    // Tests.
    ("[[test]]\nrequest = \"/users/1\" #!\nat = \"start\"\nexpect = \"legacy\"", "not a request"),
    ("[[test]]\nrequest = \"GET /%2f\" #!\nat = \"start\"\nexpect = \"legacy\"", "the gateway refuses this request"),
    ("[[test]]\nrequest = \"GET /\"\nat = \"begin\" #!\nexpect = \"legacy\"", "not a moment"),
    ("[[test]]\nrequest = \"GET /\"\nat = \"reads 5\" #!\nexpect = \"legacy\"", "not a percentage"),
    ("[[test]]\nrequest = \"GET /\"\nat = \"start\"\nexpect = \"monolith\" #!", "`expect` is \"monolith\""),
    ("[[test]] #!\nrequest = \"GET /\"\nat = \"start\"", "[[test]] has no `expect`"),
];

#[test]
fn every_broken_section_is_refused_at_its_line() {
    for (body, fragment) in BODIES {
        let route = if body.contains("[[route]]") || body.contains("[route]") || body.contains("rout]]") {
            ""
        } else {
            "\n[[route]]\npath = \"/users/\"\n"
        };
        let text = format!("{HEAD}{body}\n{route}");
        refused(&[("users.toml", &text)], fragment);
    }
    assert!(BODIES.len() > 80);
}

#[test]
fn a_route_that_no_request_reaches_because_the_gateway_answers_itself_is_refused() {
    let known = Known { answered: vec!["/users/health".to_owned()], ..Known::default() };
    let taken = |path: &str| {
        let text = FINE.replacen("[[step]]", &format!("[[route]]\npath = \"{path}\"\n[[step]]"), 1);
        load(&[RuleFile { name: "users.toml".to_owned(), text }], &known).map_err(|complaints| complaints[0].to_string())
    };
    assert!(taken("/users/healthy").is_ok(), "beside `/users/{{*rest}}`, which takes it among others");
    let why = taken("/users/health").expect_err("it hides routes");
    assert!(why.starts_with("users.toml:9:1: error: ") && why.contains("the gateway answers `/users/health` itself"), "{why}");
}

#[test]
fn an_event_goes_to_a_bus_that_there_is() {
    let event = "[[table]]\nlegacy = \"u\"\nmodern = \"users\"\n[[event]]\ntable = \"users\"\nto = \"bus\"\nupdated = \"user.updated\"\n";
    let file = RuleFile { name: "users.toml".to_owned(), text: format!("{FINE}{event}") };
    let with = |buses: &[&str]| {
        let known = Known { buses: Some(buses.iter().map(|&bus| bus.to_owned()).collect()), ..Known::default() };
        load(std::slice::from_ref(&file), &known).map_err(|complaints| complaints[0].to_string())
    };
    let events = with(&["bus", "other"]).expect("it is there").rules.capabilities["users"].tables[0].events.clone();
    assert_eq!((events[0].bus.as_str(), events[0].types.updated.as_deref()), ("bus", Some("user.updated")));
    assert_eq!((events[0].columns.len(), events[0].types.deleted.as_deref()), (0, None), "nothing is told unasked");
    for (buses, hint) in [(&["buss"][..], "did you mean `buss`?"), (&[], "add it, with its `url`")] {
        let why = with(buses).expect_err("it is not there");
        assert!(why.contains("ficus.toml has no [events.bus]") && why.contains(hint), "{why}");
    }
}

#[test]
fn a_broken_head_is_refused() {
    let route = "[[route]]\npath = \"/a\"\n";
    for (head, fragment) in [
        ("#!", "no section `[capability]`"),
        ("[capability] #!\nlegacy = \"monolith\"\nmodern = \"users-service\"", "[capability] has no `name`"),
        ("[capability] #!\nname = \"users\"\nmodern = \"users-service\"", "[capability] has no `legacy`"),
        ("[capability]\nname = \"Users!\" #!\nlegacy = \"monolith\"\nmodern = \"users-service\"", "cannot name a capability"),
        ("[capability]\nname = \"users\"\nlegacy = \"monolit\" #!\nmodern = \"users-service\"", "not an upstream of ficus.toml"),
        ("[capability]\nname = \"users\"\nlegacy = \"monolith\"\nmodern = \"monolith\" #!", "the same upstream"),
        (
            "[capability]\nname = \"users\"\nlegacy = \"monolith\"\nmodern = \"users-service\"\ndepends_on = [\"users\"] #!",
            "depends on itself",
        ),
        (
            "[capability]\nname = \"users\"\nlegacy = \"monolith\"\nmodern = \"users-service\"\ndepends_on = [\"curses\"] #!",
            "no capability `curses`",
        ),
        (
            "[capability]\nname = \"users\"\nlegacy = \"monolith\"\nmodern = \"users-service\"\nahead_of = [\"curses\"] #!",
            "no capability `curses`",
        ),
        ("[capability]\nname = \"users\"\nlegacy = \"monolith\"\nmodern = \"users-service\"\nname = \"x\" #!", "duplicate key"),
    ] {
        let text = format!("{head}\n{route}");
        refused(&[("users.toml", &text)], fragment);
    }
    refused(
        &[("users.toml", "[capability] #!\nname = \"users\"\nlegacy = \"monolith\"\nmodern = \"users-service\"\n")],
        "`users` has no route",
    );
    refused(&[("users.toml", "#!")], "no section `[capability]`");
}

#[test]
fn broken_flags_are_refused() {
    for (flags, fragment) in [
        ("[flag.Upper] #!", "cannot name a flag"),
        ("[flag.a]\nkiled = true #!", "`kiled` is not a key"),
        ("[flag.a]\npercentage = 5 #!", "not a percentage"),
        ("[flag.a] #!\nusers_on = [1]\nusers_off = [\"1\"]", "both on and off for user `1`"),
        ("[flag.a]\nusers_on = \"1\" #!", "not a list of user ids"),
        ("[flag.a]\nheaders_on = { x = 1 } #!", "`x` is 1, not a string"),
        ("[flag.a]\nvariants = { x = 1, y = \"2\" } #!\ndefault = \"x\"", "values of several kinds"),
        ("[flag.a]\nvariants = { x = 1 }\ndefault = \"z\" #!", "there is no variant `z`"),
        ("[flag.a] #!\nvariants = { x = 1 }", "says which one is the default"),
        ("[flag.a]\ndefault = \"on\" #!", "not true or false"),
        ("[flag.a]\nrequires = [\"b\"] #!", "there is no flag `b`"),
        ("[flag.a] #!\nrequires = [\"b\"]\n[flag.b]\nrequires = [\"c\"]\n[flag.c]\nrequires = [\"a\"]", "a → b → c → a"),
        ("[flag.a]\nrequires = { b = \"blue\" } #!\n[flag.b]", "`b` has no variant `blue`"),
        ("[flag.a]\nexpires = \"soon\" #!", "not a day"),
        ("[flag.a]\nsplit = { on = \"60%\", off = \"50%\" } #!", "more than the whole"),
        ("[flag.a]\n[[flag.a.rule]] #!\nserve = true", "speaks of everybody"),
        ("[flag.a]\n[[flag.a.rule]] #!\nusers = [1]", "does not say what they get"),
        ("flag = 1 #!", "`flag` is 1, not a table"),
        ("[flags.a] #!", "`flags` is not a key"),
    ] {
        refused(&[("flags.toml", flags), ("users.toml", FINE)], fragment);
    }
}

#[test]
fn files_are_held_against_each_other() {
    let courses = |more: &str| format!("[capability]\nname = \"courses\"\nlegacy = \"monolith\"\nmodern = \"courses-service\"\n{more}");
    let twice = FINE.replace("name = \"users\"", "name = \"users\" #!").replace("/users/", "/people/");
    refused(&[("a.toml", FINE), ("b.toml", &twice)], "named twice: also at a.toml:2");
    refused(
        &[("courses.toml", &courses("[[route]]\npath = \"/users/{*all}\"")), ("users.toml", &FINE.replace("[[route]]", "[[route]] #!"))],
        "belong to the capability `courses` already, at courses.toml:5",
    );
    // Neither covers the other, and only names would decide: for methods, for headers, for expressions.
    let claims = |theirs: &str, ours: &str, path: &str| {
        let ours = FINE.replace("[[route]]", "[[route]] #!").replace("path = \"/users/{*rest}\"", ours).replace("/users/1", path);
        refused(&[("courses.toml", &courses(&format!("[[route]]\n{theirs}"))), ("users.toml", &ours)], "some requests match both");
    };
    claims("path = \"/u/{x}\"\nmethods = [\"GET\", \"PUT\"]", "path = \"/u/{y}\"\nmethods = [\"PUT\", \"POST\"]", "/u/1");
    claims("path = \"/u/{x}\"\nheaders = { a = \"1\" }", "path = \"/u/{y}\"\nheaders = { b = \"1\" }", "/u/1");
    claims("path = \"/u/{x:[0-9a]+}\"", "path = \"/u/{y:[0-9b]+}\"", "/u/b");
    let apart = FINE.replace("/users/{*rest}", "/u/{y:[a-z]+}").replace("/users/1", "/u/b");
    let theirs = courses("[[route]]\npath = \"/u/{x:[0-9]+}\"\n[[test]]\nrequest = \"GET /u/1\"\nat = \"start\"\nexpect = \"legacy\"");
    check(&[("courses.toml", &theirs), ("users.toml", &apart)]).expect("expressions that no text takes both of are no conflict");
    let table = "[[route]]\npath = \"/c\"\n[[table]]\nlegacy = \"accounts\"\nmodern = \"a\"\n";
    let again = format!("{FINE}\n[[table]] #!\nlegacy = \"accounts\"\nmodern = \"a\"\n");
    refused(&[("courses.toml", &courses(table)), ("users.toml", &again)], "`accounts` belongs to the capability `courses` already");
    let circle = FINE.replace("legacy =", "depends_on = [\"courses\"]\nlegacy =");
    refused(
        &[("courses.toml", &courses("depends_on = [\"users\"] #!\n[[route]]\npath = \"/c\"")), ("users.toml", &circle)],
        "courses → users → courses",
    );
    let torn = FINE.replace("legacy =", "depends_on = [\"courses\"]\nahead_of = [\"courses\"] #!\nlegacy =");
    refused(
        &[("courses.toml", &courses("[[route]]\npath = \"/c\"")), ("users.toml", &torn)],
        "after `courses` (`depends_on`) and ahead of it",
    );
}

#[test]
fn a_test_that_fails_says_what_was_decided() {
    let test = |lines: &str| format!("{FINE}\n[[test]] #!\n{lines}");
    refused(
        &[("users.toml", &test("request = \"POST /users/1\"\nat = \"reads 100%\"\nexpect = \"modern\""))],
        "expected on modern, but users.toml:6 of `users` sends it to legacy (because: owner_writes)",
    );
    refused(&[("users.toml", &test("request = \"GET /users\"\nat = \"start\"\nexpect = \"legacy\""))], "but no route matches it");
    refused(&[("users.toml", &test("request = \"GET /users/\"\nat = \"start\"\nexpect = \"none\""))], "expected on no route");
    refused(&[("users.toml", &test("request = \"GET /users/\"\nat = \"reads 50%\"\nexpect = \"modern\""))], "does not say who calls");
}

#[test]
fn every_error_of_every_file_comes_at_once_and_in_order() {
    let users =
        "[capability]\nname = \"users\"\nlegacy = 1\nmodern = \"users-service\"\nnme = 2\n[[route]]\npath = \"x\"\npin = \"left\"\n";
    let broken = "[capability]\nname = \"courses\"\n[[route]\npath = \"/c\"\n";
    let grades =
        "[capability]\nname = \"grades\"\nlegacy = \"monolith\"\nmodern = \"courses-service\"\ndepends_on = [\"courses\"]\n[[route]]\n";
    let complaints = check(&[("courses.toml", broken), ("grades.toml", grades), ("users.toml", users)]).expect_err("all are broken");
    let errors: Vec<(&str, usize)> = complaints.iter().filter(|c| !c.warning).map(|c| (c.file.as_str(), c.line)).collect();
    let expected = [("courses.toml", 3), ("grades.toml", 6), ("users.toml", 3), ("users.toml", 5), ("users.toml", 7), ("users.toml", 8)];
    let mut seen = errors.clone();
    seen.dedup();
    assert_eq!(seen, expected, "{errors:?}");
}

#[test]
fn a_flag_is_warned_of_from_its_last_day_on() {
    let files = [("flags.toml", "[flag.old]\nexpires = \"2026-06-30\"\n[flag.kept]\n"), ("users.toml", FINE)];
    let files = files.map(|(name, text)| RuleFile { name: name.to_owned(), text: text.to_owned() });
    let warned = |today: Option<&str>| {
        let midnight = |day: &str| {
            let day: jiff::civil::Date = day.parse().expect("a day");
            day.to_zoned(jiff::tz::TimeZone::UTC).expect("a time").timestamp().as_millisecond()
        };
        let today = today.map(|day| ficus_rules::Timestamp(u64::try_from(midnight(day)).expect("after 1970")));
        load(&files, &Known { today, ..Known::default() }).expect("it may be served").warnings
    };
    assert_eq!(warned(Some("2026-06-29")), []);
    assert_eq!(warned(None), [], "nobody says what day it is");
    let warnings = warned(Some("2026-06-30"));
    let shown: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert!(
        matches!(&shown[..], [one] if one.starts_with("flags.toml:2:") && one.contains("warning: the last day of `old` has come")),
        "{shown:?}"
    );
}

#[test]
fn a_complaint_reads_like_a_compilers() {
    let text = FINE.replace("[[test]]", "[[test]]\nusr = 1");
    let complaints = check(&[("users.toml", &text)]).expect_err("a misspelt key");
    assert_eq!(complaints[0].to_string(), "users.toml:18:1: error: `usr` is not a key of [[test]] (did you mean `user`?)");
}

#[test]
fn what_is_right_is_served_and_what_is_thin_is_warned_of() {
    assert_eq!(check(&[("users.toml", FINE)]), Ok(Vec::new()));
    let thin = format!("{HEAD}[[route]]\npath = \"/a/{{id}}\"\nmodern_path = \"/a\"\n");
    let warnings = check(&[("users.toml", &thin)]).expect("it may be served");
    let shown: Vec<&str> = warnings.iter().map(|c| c.message.as_str()).collect();
    assert!(warnings.iter().all(|c| c.warning) && shown.len() == 3, "{shown:?}");
    assert!(
        shown.iter().any(|m| m.contains("no tests"))
            && shown.iter().any(|m| m.contains("never moves"))
            && shown.iter().any(|m| m.contains("never sees `id`"))
    );
}

#[test]
fn what_a_fallback_and_a_cache_cannot_do_is_warned_of() {
    let warned = |more: &str| {
        let text = FINE.replace("[[step]]\ncutover", &format!("{more}\n[[step]]\ncutover"));
        let warnings = check(&[("users.toml", &text)]).expect("it may be served");
        warnings.into_iter().map(|warning| (warning.line, warning.message)).collect::<Vec<_>>()
    };
    let size = |max: &str| format!("[[route]]\npath = \"/a\"\nfallback_on = [404]\n[route.plugins.request_size]\nmax = \"{max}\"");
    let told = warned(&size("65KiB"));
    assert!(told.len() == 1 && told[0].0 == 11 && told[0].1.contains("with which nothing falls back"), "{told:?}");
    assert_eq!(warned(&size("64KiB")), []);
    assert_eq!(warned(&size("65KiB").replace("fallback_on = [404]\n", "")), [], "where nothing is said of it");
    let cached = "[[route]]\npath = \"/a\"\ncache = { at_most = \"1m\" }\n";
    let told = warned(cached);
    assert!(told.len() == 1 && told[0].0 == 11 && told[0].1.contains("other gateways"), "{told:?}");
    let told = warned(&format!("{cached}[[table]]\nlegacy = \"a\"\nmodern = \"b\"\n"));
    assert!(told.iter().all(|(_, message)| !message.contains("other gateways")), "{told:?}");
}

/// What several others take together, and what nobody has the time to find out.
#[test]
fn a_route_that_others_may_take_is_warned_of() {
    let warned = |routes: &str| {
        let text = FINE.replace("[[step]]\ncutover", &format!("{routes}[[step]]\ncutover"));
        let warnings = check(&[("users.toml", &text)]).expect("it may be served");
        warnings.into_iter().map(|warning| warning.message).collect::<Vec<_>>()
    };
    let route = |more: &str| format!("[[route]]\npath = \"/a/{{id}}\"\n{more}\n");
    let (present, absent) = (route("headers = { x-a = { present = true } }"), route("headers = { x-a = { absent = true } }"));
    let told = warned(&[present.clone(), absent.clone(), route("")].concat());
    assert_eq!(told, ["no request reaches this route: users.toml:9, users.toml:12 take all of them together"]);
    assert_eq!(warned(&[present.clone(), route("")].concat()), Vec::<String>::new());
    let reads = route("methods = [\"GET\"]") + &route("methods = [\"HEAD\"]\nquery = { a = { present = true } }");
    assert_eq!(warned(&(reads + &route("methods = [\"GET\", \"HEAD\"]"))), Vec::<String>::new());
    // Many ways to be none of those before.
    let header = |nth: usize| format!("x-{nth} = {{ present = true }}");
    let many =
        (0..12).map(|nth| route(&format!("headers = {{ {} }}", (0..4).map(|more| header(nth * 4 + more)).collect::<Vec<_>>().join(", "))));
    let told = warned(&(many.collect::<String>() + &present + &absent + &route("")));
    assert!(told.len() == 1 && told[0].starts_with("whether some request reaches this route"), "{told:?}");
}

#[test]
fn a_soak_in_which_nobody_compares_is_warned_of() {
    let warned = |more: &str, soak: &str| {
        let text = format!("{}{more}", FINE.replace("soak = \"7d\"\n", soak));
        let warnings = check(&[("users.toml", &text)]).expect("it may be served");
        warnings.iter().filter(|warning| warning.message.starts_with("in the soak nothing is compared")).count()
    };
    let shadow = "[gate.shadow]\nmax_different = \"0.1%\"\n";
    assert_eq!(warned(shadow, "soak = \"7d\"\n"), 1);
    assert_eq!(warned(shadow, "soak = \"7d\"\ncompare = \"1%\"\n"), 0);
    assert_eq!(warned("", "soak = \"7d\"\n"), 0, "nobody wishes that answers are compared");
}

#[test]
fn a_latency_that_nobody_can_judge_any_more_is_warned_of() {
    let steps = "[[step]]\nreads = \"5%\"\n[[step]]\nreads = \"100%\"\n[[step]]\ncutover = true\n[[step]]\nsoak = \"1d\"\n";
    let of_gate = |name: &str, steps: &str, gate: &str| {
        let text = FINE.replace("[[step]]\ncutover = true\n[[step]]\nsoak = \"7d\"\n", steps);
        let text = format!("{text}[gate.{name}]\nmax_ratio = 1.5\n{gate}");
        let warnings = check(&[("users.toml", &text)]).expect("it may be served");
        warnings.iter().filter(|warning| warning.message.starts_with(&format!("at 100% nobody asks legacy: `{name}`"))).count()
    };
    let warned = |steps: &str, gate: &str| of_gate("latency_p99", steps, gate);
    let at_once = &steps.replace("[[step]]\nreads = \"5%\"\n", "");
    assert_eq!(warned(at_once, ""), 1);
    assert_eq!(of_gate("latency_p50", at_once, ""), 1);
    assert_eq!(warned(at_once, "max = \"1s\"\n"), 0, "something is left to judge by");
    assert_eq!(warned(at_once, "dry_run = true\n"), 0, "nobody waits for it");
    assert_eq!(warned(&at_once.replace("100%", "50%"), ""), 0, "legacy is asked too");
    assert_eq!(warned(steps, ""), 0, "how fast legacy is was seen in the step before");
}

//! The rows: a table like many, and what an application does to it. Statements that every engine understands, so that each is
//! written exactly the same.

use crate::Result;
use crate::database::{App, Engine};

/// Rows that updates go to.
const BASE: u64 = 100_000;

/// Rows that a transaction changes: five are new, four are changed, one is removed.
pub(crate) const CHANGES: u64 = 10;

/// Rows of one statement that fills a table.
const FILL: u64 = 500;

/// Transactions of one message.
const MESSAGE: usize = 100;

/// How legacy, or a target of the same shape, names its columns, and how modern does.
pub(crate) const PERSON: [&str; 13] = [
    "person",
    "id",
    "username",
    "first_name",
    "last_name",
    "email",
    "is_active",
    "level",
    "balance",
    "bio",
    "nickname",
    "joined",
    "last_login",
];
pub(crate) const PEOPLE: [&str; 13] = [
    "people",
    "legacy_id",
    "username",
    "given_name",
    "family_name",
    "email",
    "active",
    "grade",
    "amount",
    "bio",
    "nickname",
    "joined_at",
    "last_login",
];

/// Legacy's tables: the one, and one for the row that ends a backlog.
pub(crate) fn legacy(engine: Engine) -> [String; 2] {
    let (id, text, time) = match engine {
        Engine::Postgres => ("bigint", "text", "timestamp"),
        Engine::MariaDb => ("bigint", "longtext", "datetime(6)"),
        Engine::Sqlite => ("integer", "text", "datetime"),
    };
    [
        format!(
            "CREATE TABLE person (id {id} NOT NULL PRIMARY KEY, username varchar(150) NOT NULL, first_name varchar(150) NOT NULL,
               last_name varchar(150) NOT NULL, email varchar(254) NULL, is_active bool NOT NULL, level int NOT NULL,
               balance decimal(12,2) NOT NULL, bio {text} NOT NULL, nickname varchar(50) NULL, joined {time} NOT NULL, last_login {time} NULL)"
        ),
        format!("CREATE TABLE mark (id {id} NOT NULL PRIMARY KEY, note varchar(50) NOT NULL)"),
    ]
}

/// Those of modern in PostgreSQL.
pub(crate) const MODERN: [&str; 2] = [
    "CREATE TABLE people (legacy_id bigint PRIMARY KEY, username varchar(150) NOT NULL, given_name text NOT NULL, family_name text NOT NULL,
       email varchar(254), active boolean NOT NULL, grade text NOT NULL, amount text NOT NULL, bio text NOT NULL, nickname varchar(50),
       joined_at timestamp NOT NULL, last_login timestamp)",
    "CREATE TABLE mark (id bigint PRIMARY KEY, note varchar(50) NOT NULL)",
];

/// Writes the rows with these numbers.
pub(crate) async fn fill(app: &mut App, mut from: u64, to: u64) -> Result<()> {
    while from <= to {
        let last = to.min(from + FILL - 1);
        app.run(&insert(from..=last)).await?;
        from = last + 1;
    }
    Ok(())
}

fn insert(ids: std::ops::RangeInclusive<u64>) -> String {
    format!("INSERT INTO person VALUES {}", ids.map(|id| format!("({})", row(id))).collect::<Vec<_>>().join(","))
}

fn row(id: u64) -> String {
    let some = |there: bool, text: String| if there { format!("'{text}'") } else { "NULL".to_owned() };
    let time = format!("2026-{:02}-{:02} {:02}:04:05.{:06}", 1 + id % 12, 1 + id % 28, id % 24, id % 1_000_000);
    format!(
        "{id}, 'user{id}', 'Zoë', 'O''Hara {}', {}, {}, {}, {}.25, 'a note of some length that says little, {id}', {}, '{time}', {}",
        id % 977,
        some(!id.is_multiple_of(7), format!("user{id}@example.test")),
        !id.is_multiple_of(3),
        id % 10,
        id % 100_000,
        some(id.is_multiple_of(2), format!("nick {id}")),
        some(!id.is_multiple_of(5), time.clone()),
    )
}

/// What an application goes on to write. Two that begin alike write the same.
pub(crate) struct Writer {
    transactions: u64,
    /// Transactions so far, of so many in all.
    done: u64,
    all: u64,
}

impl Writer {
    /// One that will write so many backlogs of so many changes.
    pub(crate) fn new(changes: u64, backlogs: u64) -> Writer {
        let transactions = (changes / CHANGES).max(1);
        Writer { transactions, done: 0, all: transactions * backlogs }
    }

    /// Rows that are there from the beginning: those that are changed, then those that will be removed.
    pub(crate) fn rows(&self) -> u64 {
        BASE + self.all
    }

    /// Changes of one backlog, with the row that ends it.
    pub(crate) fn changes(&self) -> u64 {
        self.transactions * CHANGES + 1
    }

    /// The messages of the next backlog, but for its last row.
    pub(crate) fn backlog(&mut self) -> Vec<String> {
        let transactions: Vec<String> = (self.done..self.done + self.transactions).map(|number| self.transaction(number)).collect();
        self.done += self.transactions;
        transactions.chunks(MESSAGE).map(<[String]>::concat).collect()
    }

    fn transaction(&self, number: u64) -> String {
        let new = self.rows() + 5 * number;
        let changed: Vec<String> = (4 * number..4 * number + 4).map(|pick| (1 + pick * 7_919 % BASE).to_string()).collect();
        format!(
            "BEGIN; {}; UPDATE person SET balance = balance + 1, bio = 'another note, as long as the one before, {number}', \
             last_login = '2027-02-03 04:05:06.000007' WHERE id IN ({}); DELETE FROM person WHERE id = {}; COMMIT;",
            insert(new + 1..=new + 5),
            changed.join(","),
            BASE + 1 + number,
        )
    }
}

/// All rows, each as one text that is the same in every engine.
pub(crate) fn texts(engine: Engine, [table, names @ ..]: &[&str; 13]) -> String {
    let [id, username, first, last, email, active, level, balance, bio, nickname, joined, login] = names;
    let time = |column: &str| match engine {
        Engine::Postgres => format!("to_char({column}, 'YYYY-MM-DD HH24:MI:SS.US')"),
        Engine::MariaDb | Engine::Sqlite => column.to_owned(),
    };
    let (active, balance) = match engine {
        Engine::Postgres => (format!("{active}::int"), format!("{balance}::numeric(12,2)")),
        Engine::MariaDb => (active.to_string(), balance.to_string()),
        Engine::Sqlite => (active.to_string(), format!("printf('%.2f', {balance})")),
    };
    format!(
        "SELECT concat_ws('|', {id}, {username}, {first}, {last}, coalesce({email}, '-'), {active}, {level}, {balance}, {bio}, \
         coalesce({nickname}, '-'), {}, coalesce({}, '-')) FROM {table}",
        time(joined),
        time(login),
    )
}

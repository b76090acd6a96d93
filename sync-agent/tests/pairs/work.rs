//! Random work of one side, from a seed: what an application may do to its rows. Each statement is one that the database
//! accepts; what was committed is in the worker's ledger. The sides have their own keys and names, so that both may write.

use ficus_rules::Side;
use ficus_rules::mapping::uuid_of;

use super::app::{App, Engine};
use super::ledger::{Book, Ledger, Writer};
use super::world::World;

/// Keys and names that the work plays with, a side.
const KEYS: u64 = 24;

/// Keys of the great transaction begin here.
const GREAT: i64 = 100_000;

pub(crate) struct Worker {
    side: Side,
    engine: Engine,
    app: App,
    /// A second connection, for transactions that overlap.
    other: App,
    random: Random,
    /// The open transaction was chosen as the victim of a deadlock.
    broken: bool,
    pub(crate) committed: Ledger,
}

impl Worker {
    pub(crate) async fn new(world: &World, side: Side, seed: u64) -> Worker {
        let (app, other) = (world.app(side).await, world.app(side).await);
        let random = Random(seed.wrapping_mul(2) + u64::from(side == Side::Modern));
        Worker { side, engine: app.engine(), app, other, random, broken: false, committed: Ledger::default() }
    }

    pub(crate) async fn transactions(&mut self, count: usize) {
        for _ in 0..count {
            match self.random.below(12) {
                0 if self.engine != Engine::Sqlite => self.overlapping().await,
                _ => self.transaction().await,
            }
        }
    }

    async fn transaction(&mut self) {
        let mut draft = self.committed.clone();
        self.run(self.engine.begin()).await;
        for _ in 0..=self.random.below(4) {
            if self.random.below(6) == 0 {
                self.run("SAVEPOINT s").await;
                let mut tried = draft.clone();
                self.changes(&mut tried).await;
                self.changes(&mut tried).await;
                if self.random.below(3) > 0 {
                    self.run("ROLLBACK TO SAVEPOINT s").await;
                } else {
                    draft = tried;
                }
                self.run("RELEASE SAVEPOINT s").await;
            }
            self.changes(&mut draft).await;
        }
        let fails = self.random.below(8) == 0;
        self.end(fails, draft).await;
    }

    /// Whether it was committed.
    async fn end(&mut self, fails: bool, draft: Ledger) -> bool {
        let fails = fails || std::mem::take(&mut self.broken);
        self.app.exec(if fails { "ROLLBACK" } else { "COMMIT" }).await;
        if !fails {
            self.committed = draft;
        }
        !fails
    }

    async fn run(&mut self, sql: &str) {
        if self.broken {
            return;
        }
        self.broken = !may_pass(self.app.attempt(sql).await);
    }

    /// Two at once, of which the one that began later commits first.
    async fn overlapping(&mut self) {
        let Some(id) = self.some_writer(|_| true, &self.committed.clone()) else { return };
        let mut draft = self.committed.clone();
        let Some(new) = self.free_writer(&draft) else { return };
        let level = self.number();
        self.run("BEGIN").await;
        let set = self.set_writer(id, &format!("level = {level}"));
        self.run(&set).await;
        draft.writers.get_mut(&id).unwrap().level = level;
        let writer = self.writer(&draft);
        let insert = self.insert_writer(new, &writer);
        self.other.exec("BEGIN").await;
        if may_pass(self.other.attempt(&insert).await) {
            self.other.exec("COMMIT").await;
            self.committed.writers.insert(new, writer.clone());
            draft.writers.insert(new, writer);
        } else {
            self.other.exec("ROLLBACK").await;
        }
        self.end(false, draft).await;
    }

    /// Many rows at once; then all of them again, and most of them away.
    pub(crate) async fn great(&mut self, rows: i64) {
        let Some(writer) = self.some_writer(|_| true, &self.committed.clone()) else { return };
        let odd = i64::from(self.side == Side::Modern);
        let keys: Vec<i64> = (0..rows).map(|n| GREAT + 2 * n + odd).collect();
        loop {
            let mut draft = self.committed.clone();
            self.run(self.engine.begin()).await;
            for keys in keys.chunks(500) {
                let book = |id: &i64| (*id, Book { writer, title: format!("great {id}"), price: *id });
                let books: Vec<(i64, Book)> = keys.iter().map(book).collect();
                let sql = self.insert_books(&books);
                self.run(&sql).await;
                draft.books.extend(books);
            }
            if self.end(false, draft).await {
                break;
            }
        }
        let (table, key) = self.table("book");
        let last = GREAT + rows / 2;
        loop {
            let mut draft = self.committed.clone();
            self.run(self.engine.begin()).await;
            self.run(&format!("UPDATE {table} SET price = price + 1 WHERE {key} >= {GREAT} AND {key} % 2 = {odd}")).await;
            self.run(&format!("DELETE FROM {table} WHERE {key} >= {last} AND {key} % 2 = {odd}")).await;
            draft.books.retain(|id, _| *id < last);
            draft.books.range_mut(GREAT..).for_each(|(_, book)| book.price += 100);
            if self.end(false, draft).await {
                break;
            }
        }
    }

    async fn changes(&mut self, draft: &mut Ledger) {
        for sql in self.change(draft).unwrap_or_default() {
            self.run(&sql).await;
        }
    }

    /// One change, in statements; nothing if the rows for it are missing.
    fn change(&mut self, draft: &mut Ledger) -> Option<Vec<String>> {
        let bookless = |id: &i64, draft: &Ledger| !draft.books.values().any(|book| book.writer == *id);
        let childless = |id: &i64| bookless(id, draft);
        Some(match self.random.below(17) {
            0..=2 => {
                let (id, writer) = (self.free_writer(draft)?, self.writer(draft));
                let sql = self.insert_writer(id, &writer);
                draft.writers.insert(id, writer);
                vec![sql]
            }
            3 => {
                // What is long stays as it is: some logs do not have it then.
                let (id, level, price) = (self.some_writer(|_| true, draft)?, self.number(), self.number());
                let writer = draft.writers.get_mut(&id)?;
                (writer.level, writer.price) = (level, price);
                vec![self.set_writer(id, &format!("level = {level}, price = {}", decimal(price)))]
            }
            4 => {
                let (id, body) = (self.some_writer(|_| true, draft)?, self.body());
                let sql = self.set_writer(id, &format!("body = {}", self.optional(body.as_deref())));
                draft.writers.get_mut(&id)?.body = body;
                vec![sql]
            }
            5 => {
                let (id, name) = (self.some_writer(|_| true, draft)?, self.free_name(draft));
                let sql = self.set_writer(id, &format!("name = {}", self.engine.text(&name)));
                draft.writers.get_mut(&id)?.name = name;
                vec![sql]
            }
            6 | 7 => {
                // Unique values go round among two or three.
                let first = self.some_writer(|_| true, draft)?;
                let second = self.some_writer(|id| *id != first, draft)?;
                let third = self.some_writer(|id| *id != first && *id != second, draft);
                let ring: Vec<i64> = [first, second].into_iter().chain(third).collect();
                let names: Vec<String> = ring.iter().map(|id| draft.writers[id].name.clone()).collect();
                let mut sql = vec![self.set_writer(first, &format!("name = '{}-away'", self.side))];
                for (at, id) in ring.iter().enumerate().skip(1).chain(std::iter::once((0, &first))) {
                    let name = &names[(at + ring.len() - 1) % ring.len()];
                    // Whoever had it has another one by now, but the first, whose own is free.
                    sql.push(self.set_writer(*id, &format!("name = {}", self.engine.text(name))));
                    draft.writers.get_mut(id)?.name.clone_from(name);
                }
                sql
            }
            8 | 9 => {
                let id = self.some_writer(|_| true, draft)?;
                let mut sql = vec![self.delete_books_of(id), self.delete_writer(id)];
                draft.books.retain(|_, book| book.writer != id);
                draft.writers.remove(&id);
                if self.random.below(2) == 0 {
                    let writer = self.writer(draft);
                    sql.push(self.insert_writer(id, &writer));
                    draft.writers.insert(id, writer);
                }
                sql
            }
            10 => {
                let (old, new) = (self.some_writer(childless, draft)?, self.free_writer(draft)?);
                let sql = self.rekey("writer", old, new);
                let writer = draft.writers.remove(&old)?;
                draft.writers.insert(new, writer);
                vec![sql]
            }
            11 => {
                // Displaces whoever has the key, and whoever has the name.
                let id = self.some_writer(childless, draft)?;
                let other = self.some_writer(|known| *known != id && childless(known), draft)?;
                let writer = Writer { name: draft.writers[&other].name.clone(), ..self.writer(draft) };
                let insert = self.insert_writer(id, &writer);
                draft.writers.remove(&other);
                draft.writers.insert(id, writer);
                match self.engine {
                    Engine::Postgres => vec![self.delete_writer(id), self.delete_writer(other), insert],
                    _ => vec![insert.replacen("INSERT", "REPLACE", 1)],
                }
            }
            12 | 13 => {
                let (writer, id) = (self.some_writer(|_| true, draft)?, self.free_book(draft)?);
                let book = Book { writer, title: self.body().unwrap_or_default(), price: self.number() };
                let sql = self.insert_books(&[(id, book.clone())]);
                draft.books.insert(id, book);
                vec![sql]
            }
            14 => {
                let (old, new) = (self.some_book(draft)?, self.free_book(draft)?);
                let sql = self.rekey("book", old, new);
                let book = draft.books.remove(&old)?;
                draft.books.insert(new, book);
                vec![sql]
            }
            15 => {
                let (id, writer) = (self.some_book(draft)?, self.some_writer(|_| true, draft)?);
                let (table, key) = self.table("book");
                draft.books.get_mut(&id)?.writer = writer;
                vec![format!("UPDATE {table} SET writer_id = {} WHERE {key} = {id}", self.reference(writer))]
            }
            _ => {
                // Nothing of it takes part: an update of nothing, or of a column that stays.
                let id = self.some_writer(|_| true, draft)?;
                let set = if self.side == Side::Modern { "nickname = 'n'" } else { "level = level" };
                vec![self.set_writer(id, set)]
            }
        })
    }

    fn some_writer(&mut self, fits: impl Fn(&i64) -> bool, draft: &Ledger) -> Option<i64> {
        let known: Vec<i64> = draft.writers.keys().copied().filter(fits).collect();
        self.one_of(&known)
    }

    fn some_book(&mut self, draft: &Ledger) -> Option<i64> {
        let known: Vec<i64> = draft.books.keys().copied().filter(|id| *id < GREAT).collect();
        self.one_of(&known)
    }

    fn free_writer(&mut self, draft: &Ledger) -> Option<i64> {
        let free: Vec<i64> = self.keys().filter(|id| !draft.writers.contains_key(id)).collect();
        self.one_of(&free)
    }

    fn free_book(&mut self, draft: &Ledger) -> Option<i64> {
        let free: Vec<i64> = self.keys().filter(|id| !draft.books.contains_key(id)).collect();
        self.one_of(&free)
    }

    fn keys(&self) -> impl Iterator<Item = i64> + use<> {
        let odd = u64::from(self.side == Side::Modern);
        (1..=KEYS).map(move |n| i64::try_from(2 * n + odd).unwrap())
    }

    fn one_of(&mut self, known: &[i64]) -> Option<i64> {
        let at = usize::try_from(self.random.below(known.len().max(1) as u64)).unwrap();
        known.get(at).copied()
    }

    fn free_name(&mut self, draft: &Ledger) -> String {
        loop {
            let name = format!("{}-{} Ünïcode ☂ 'q' \\b", self.side, self.random.below(KEYS * 2));
            if !draft.writers.values().any(|writer| writer.name == name) {
                return name;
            }
        }
    }

    fn writer(&mut self, draft: &Ledger) -> Writer {
        Writer { name: self.free_name(draft), body: self.body(), level: self.number(), price: self.number() }
    }

    fn number(&mut self) -> i64 {
        i64::try_from(self.random.below(2_000_000)).unwrap() - 1_000_000
    }

    /// Nothing, what is empty, what is hard to quote, and what is too long for a page and for one packet.
    fn body(&mut self) -> Option<String> {
        match self.random.below(8) {
            0 => None,
            1 => Some(String::new()),
            2 => Some("it's\t\"quoted\" \\ back\nNULL \\N 😀 ".to_owned()),
            3 => Some((0..700).map(|_| format!("{:016x}", self.random.next())).collect()),
            4 => Some("long ".repeat(8_000 + usize::try_from(self.random.below(8_000)).unwrap())),
            _ => Some(format!("text {}", self.random.below(1_000))),
        }
    }

    fn table(&self, of: &str) -> (String, &'static str) {
        match self.side {
            Side::Legacy => (of.to_owned(), "id"),
            Side::Modern => (format!("{of}s"), "legacy_id"),
        }
    }

    fn reference(&self, writer: i64) -> String {
        match self.side {
            Side::Legacy => writer.to_string(),
            Side::Modern => format!("'{}'", uuid_of("users", "writer", writer)),
        }
    }

    fn optional(&self, text: Option<&str>) -> String {
        text.map_or_else(|| "NULL".to_owned(), |text| self.engine.text(text))
    }

    /// The key's columns and values, and where they are written.
    fn keyed(&self, of: &str, id: i64) -> (&'static str, String) {
        match self.side {
            Side::Legacy => ("id", id.to_string()),
            Side::Modern => ("legacy_id, id", format!("{id}, '{}'", uuid_of("users", of, id))),
        }
    }

    fn insert_writer(&self, id: i64, writer: &Writer) -> String {
        let ((table, _), (columns, keys)) = (self.table("writer"), self.keyed("writer", id));
        let (name, body, price) = (self.engine.text(&writer.name), self.optional(writer.body.as_deref()), decimal(writer.price));
        format!("INSERT INTO {table} ({columns}, name, body, level, price) VALUES ({keys}, {name}, {body}, {}, {price})", writer.level)
    }

    fn insert_books(&self, books: &[(i64, Book)]) -> String {
        let ((table, _), (columns, _)) = (self.table("book"), self.keyed("book", 0));
        let row = |(id, book): &(i64, Book)| {
            let (keys, writer) = (self.keyed("book", *id).1, self.reference(book.writer));
            format!("({keys}, {writer}, {}, {})", self.engine.text(&book.title), decimal(book.price))
        };
        let rows: Vec<String> = books.iter().map(row).collect();
        format!("INSERT INTO {table} ({columns}, writer_id, title, price) VALUES {}", rows.join(", "))
    }

    fn set_writer(&self, id: i64, set: &str) -> String {
        let (table, key) = self.table("writer");
        format!("UPDATE {table} SET {set} WHERE {key} = {id}")
    }

    fn rekey(&self, of: &str, old: i64, new: i64) -> String {
        let (table, key) = self.table(of);
        let uuid = match self.side {
            Side::Legacy => String::new(),
            Side::Modern => format!(", id = '{}'", uuid_of("users", of, new)),
        };
        format!("UPDATE {table} SET {key} = {new}{uuid} WHERE {key} = {old}")
    }

    fn delete_writer(&self, id: i64) -> String {
        let (table, key) = self.table("writer");
        format!("DELETE FROM {table} WHERE {key} = {id}")
    }

    fn delete_books_of(&self, writer: i64) -> String {
        format!("DELETE FROM {} WHERE writer_id = {}", self.table("book").0, self.reference(writer))
    }
}

/// Whether a statement went well; it may be the victim of a deadlock, and nothing else.
fn may_pass(done: Result<(), String>) -> bool {
    let Err(error) = done else { return true };
    assert!(["Deadlock", "deadlock", "Lock wait timeout"].iter().any(|word| error.contains(word)), "{error}");
    false
}

fn decimal(hundredths: i64) -> String {
    let sign = if hundredths < 0 { "-" } else { "" };
    format!("{sign}{}.{:02}", hundredths.abs() / 100, hundredths.abs() % 100)
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, seedable, good enough to shuffle work.
pub(crate) struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, most: u64) -> u64 {
        self.next() % most
    }
}

//! Table `users`, read together with the profile of each.

use serde::Serialize;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection, SqliteExecutor};

use super::{Database, Write, notes, photos, profiles};
use crate::clock;
use crate::error::Error;
use crate::ids::Table;
use crate::role::Role;
use profiles::{NewProfile, Profile};

/// A user in its public shape.
#[derive(Debug, Clone, Serialize)]
pub struct User {
    /// The public integer.
    pub id: i64,
    /// Unique.
    pub username: String,
    /// May be empty.
    pub email: String,
    /// `given_name` in the table.
    pub first_name: String,
    /// `family_name` in the table.
    pub last_name: String,
    /// What the user is.
    pub role: Role,
    /// Whether the user may do anything.
    pub is_active: bool,
    /// ISO 8601, six digits, `Z`.
    pub date_joined: String,
    /// None if there is no row.
    pub profile: Option<Profile>,
    /// The key of the row.
    #[serde(skip)]
    pub uuid: String,
}

/// A user to be made, checked.
#[derive(Debug)]
pub struct NewUser {
    /// Unique.
    pub username: String,
    /// The hash, in Django's format.
    pub password: String,
    /// May be empty.
    pub email: String,
    /// May be empty.
    pub first_name: String,
    /// May be empty.
    pub last_name: String,
    /// What the user is; also the kind of the profile.
    pub role: Role,
    /// What the profile says.
    pub profile: NewProfile,
}

/// Columns to write; none leaves as it is.
#[derive(Debug, Default, PartialEq)]
#[expect(missing_docs, reason = "the public names of the columns")]
pub struct Changes {
    pub email: Option<String>,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub is_active: Option<bool>,
    pub address: Option<String>,
    pub gender: Option<String>,
}

/// Which users to list. An empty text does not filter.
#[derive(Debug, Default)]
pub struct Filter {
    /// Of this role only.
    pub role: Option<Role>,
    /// Whose user name begins so; ASCII letters match in both cases, as with the monolith's `LIKE`.
    pub prefix: String,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT u.id, u.legacy_id, u.username, u.email, u.given_name, u.family_name, u.role, u.is_active, u.joined_at, ",
            "p.kind, p.address, p.gender, p.course_id, p.session_year_id ",
            "FROM users u LEFT JOIN profiles p ON p.user_id = u.id ",
            $rest
        )
    };
}

/// The user with this public id.
pub async fn find(from: impl SqliteExecutor<'_>, id: i64) -> Result<User, Error> {
    let row = sqlx::query(select!("WHERE u.legacy_id = ?")).bind(id).fetch_optional(from).await?;
    Ok(user(&row.ok_or(Error::NotFound("There is no such user."))?)?)
}

/// Whether the user is active; none if there is no such user.
pub async fn is_active(database: &Database, id: i64) -> Result<Option<bool>, Error> {
    let row = sqlx::query("SELECT is_active FROM users WHERE legacy_id = ?").bind(id).fetch_optional(database.read()).await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

/// One page of the users by id, and how many there are on all pages.
pub async fn list(database: &Database, filter: &Filter, page: u32, page_size: u32) -> Result<(i64, Vec<User>), Error> {
    const MATCHING: &str = "SELECT count(*) FROM users u \
        WHERE (?1 IS NULL OR u.role = ?1) AND (?2 IS NULL OR u.username LIKE ?2 ESCAPE '\\')";
    const PAGE: &str = select!(
        "WHERE (?1 IS NULL OR u.role = ?1) AND (?2 IS NULL OR u.username LIKE ?2 ESCAPE '\\') \
         ORDER BY u.legacy_id LIMIT ?3 OFFSET ?4"
    );
    let role = filter.role.map(Role::name);
    let pattern = (!filter.prefix.is_empty()).then(|| pattern(&filter.prefix));
    let count = sqlx::query(MATCHING).bind(role).bind(&pattern).fetch_one(database.read()).await?.try_get(0)?;
    let rows = sqlx::query(PAGE)
        .bind(role)
        .bind(&pattern)
        .bind(page_size)
        .bind(i64::from(page - 1) * i64::from(page_size))
        .fetch_all(database.read())
        .await?;
    Ok((count, rows.iter().map(user).collect::<Result<_, _>>()?))
}

/// Inserts the user and the profile of its role.
pub async fn create(database: &Database, new: NewUser) -> Result<User, Error> {
    const INSERT: &str = "INSERT INTO users (id, legacy_id, username, email, password, given_name, family_name, role, \
        is_active, is_staff, is_superuser, joined_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1, 0, 0, ?)";
    let mut write = database.write().await?;
    let now = clock::now();
    let id = Table::Users.next_id(&mut write).await?;
    sqlx::query(INSERT)
        .bind(&id.uuid)
        .bind(id.legacy_id)
        .bind(&new.username)
        .bind(&new.email)
        .bind(&new.password)
        .bind(&new.first_name)
        .bind(&new.last_name)
        .bind(new.role.name())
        .bind(&now)
        .execute(&mut *write)
        .await?;
    profiles::insert(&mut write, &id.uuid, new.role, &new.profile, &now).await?;
    commit_and_read(write, id.legacy_id).await
}

/// Writes what changes, in the user and in its profile.
pub async fn change(database: &Database, id: i64, changes: &Changes) -> Result<User, Error> {
    const UPDATE: &str = "UPDATE users SET email = coalesce(?2, email), given_name = coalesce(?3, given_name), \
        family_name = coalesce(?4, family_name), is_active = coalesce(?5, is_active) WHERE id = ?1";
    let mut write = database.write().await?;
    let user = find(&mut *write, id).await?;
    if changes.touches_user() {
        sqlx::query(UPDATE)
            .bind(&user.uuid)
            .bind(&changes.email)
            .bind(&changes.first_name)
            .bind(&changes.last_name)
            .bind(changes.is_active)
            .execute(&mut *write)
            .await?;
    }
    profiles::change(&mut write, &user.uuid, changes.address.as_deref(), changes.gender.as_deref()).await?;
    commit_and_read(write, id).await
}

/// Deletes the user and all that hangs on it, row by row: no cascade hides a deletion from a trigger.
pub async fn delete(database: &Database, id: i64) -> Result<(), Error> {
    let mut write = database.write().await?;
    let user = find(&mut *write, id).await?;
    photos::delete_of(&mut write, &user.uuid).await?;
    notes::delete_of(&mut write, &user.uuid).await?;
    profiles::delete_of(&mut write, &user.uuid).await?;
    sqlx::query("DELETE FROM users WHERE id = ?").bind(&user.uuid).execute(&mut *write).await?;
    Ok(write.commit().await?)
}

/// The key of the user with this public id, inside a write.
pub(super) async fn key(write: &mut SqliteConnection, id: i64) -> Result<String, Error> {
    let row = sqlx::query("SELECT id FROM users WHERE legacy_id = ?").bind(id).fetch_optional(write).await?;
    Ok(row.ok_or(Error::NotFound("There is no such user."))?.try_get(0)?)
}

impl Changes {
    fn touches_user(&self) -> bool {
        self.email.is_some() || self.first_name.is_some() || self.last_name.is_some() || self.is_active.is_some()
    }
}

async fn commit_and_read(mut write: Write, id: i64) -> Result<User, Error> {
    let user = find(&mut *write, id).await?;
    write.commit().await?;
    Ok(user)
}

fn user(row: &SqliteRow) -> Result<User, sqlx::Error> {
    let role = role(row, "role")?;
    Ok(User {
        id: row.try_get("legacy_id")?,
        username: row.try_get("username")?,
        email: row.try_get("email")?,
        first_name: row.try_get("given_name")?,
        last_name: row.try_get("family_name")?,
        role,
        is_active: row.try_get("is_active")?,
        date_joined: clock::public(row.try_get("joined_at")?),
        profile: profiles::public(row, role)?,
        uuid: row.try_get("id")?,
    })
}

fn role(row: &SqliteRow, column: &str) -> Result<Role, sqlx::Error> {
    let name: &str = row.try_get(column)?;
    Role::named(name).ok_or_else(|| sqlx::Error::Decode(format!("no role has the name in {column}").into()))
}

fn pattern(prefix: &str) -> String {
    let mut pattern = String::with_capacity(prefix.len() + 1);
    for letter in prefix.chars() {
        if matches!(letter, '\\' | '%' | '_') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern + "%"
}

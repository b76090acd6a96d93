//! Table `users`, read together with the profile of each.

use serde::Serialize;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use super::{Database, Write, notes, photos, profiles, query};
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
            "SELECT u.id::text AS id, u.legacy_id, u.username, u.email, u.given_name, u.family_name, u.role, ",
            "u.is_active::int AS is_active, u.joined_at::text AS joined_at, ",
            "p.kind, p.address, p.gender, p.course_id, p.session_year_id ",
            "FROM users u LEFT JOIN profiles p ON p.user_id = u.id ",
            $rest
        )
    };
}

/// The user with this public id.
pub async fn find(database: &Database, id: i64) -> Result<User, Error> {
    let mut read = database.read().await?;
    find_by(&mut read, id).await
}

async fn find_by(connection: &mut AnyConnection, id: i64) -> Result<User, Error> {
    let row = query(connection, select!("WHERE u.legacy_id = $1")).bind(id).fetch_optional(connection).await?;
    Ok(user(&row.ok_or(Error::NotFound("There is no such user."))?)?)
}

/// Whether the user is active; none if there is no such user.
pub async fn is_active(database: &Database, id: i64) -> Result<Option<bool>, Error> {
    let mut read = database.read().await?;
    let active = query(&read, "SELECT is_active::int FROM users WHERE legacy_id = $1");
    let row = active.bind(id).fetch_optional(&mut *read).await?;
    Ok(row.map(|row| row.try_get::<i64, _>(0)).transpose()?.map(|active| active != 0))
}

/// One page of the users by id, and how many there are on all pages.
pub async fn list(database: &Database, filter: &Filter, page: u32, page_size: u32) -> Result<(i64, Vec<User>), Error> {
    const MATCHING: &str = "SELECT count(*) FROM users u \
        WHERE ($1::text IS NULL OR u.role = $1) AND ($2::text IS NULL OR lower(u.username) LIKE lower($2) ESCAPE '\\')";
    const PAGE: &str = select!(
        "WHERE ($1::text IS NULL OR u.role = $1) AND ($2::text IS NULL OR lower(u.username) LIKE lower($2) ESCAPE '\\') \
         ORDER BY u.legacy_id LIMIT $3 OFFSET $4"
    );
    let role = filter.role.map(|role| role.name().to_owned());
    let pattern = (!filter.prefix.is_empty()).then(|| pattern(&filter.prefix));
    let mut read = database.read().await?;
    let count = query(&read, MATCHING).bind(role.clone()).bind(pattern.clone()).fetch_one(&mut *read).await?.try_get(0)?;
    let rows = query(&read, PAGE)
        .bind(role)
        .bind(pattern)
        .bind(i64::from(page_size))
        .bind(i64::from(page - 1) * i64::from(page_size))
        .fetch_all(&mut *read)
        .await?;
    Ok((count, rows.iter().map(user).collect::<Result<_, _>>()?))
}

/// Inserts the user and the profile of its role.
pub async fn create(database: &Database, new: NewUser) -> Result<User, Error> {
    const INSERT: &str = "INSERT INTO users (id, legacy_id, username, email, password, given_name, family_name, role, \
        is_active, is_staff, is_superuser, joined_at) VALUES ($1::uuid, $2, $3, $4, $5, $6, $7, $8, true, false, false, $9::timestamptz)";
    let mut write = database.write().await?;
    let now = clock::now();
    let id = Table::Users.next_id(&mut write).await?;
    query(&write, INSERT)
        .bind(id.uuid.clone())
        .bind(id.legacy_id)
        .bind(new.username)
        .bind(new.email)
        .bind(new.password)
        .bind(new.first_name)
        .bind(new.last_name)
        .bind(new.role.name().to_owned())
        .bind(now.clone())
        .execute(&mut *write)
        .await?;
    profiles::insert(&mut write, &id.uuid, new.role, &new.profile, &now).await?;
    commit_and_read(write, id.legacy_id).await
}

/// Writes what changes, in the user and in its profile.
pub async fn change(database: &Database, id: i64, changes: &Changes) -> Result<User, Error> {
    const UPDATE: &str = "UPDATE users SET email = coalesce($2, email), given_name = coalesce($3, given_name), \
        family_name = coalesce($4, family_name), is_active = coalesce($5, is_active) WHERE id = $1::uuid";
    let mut write = database.write().await?;
    let user = find_by(&mut write, id).await?;
    if changes.touches_user() {
        query(&write, UPDATE)
            .bind(user.uuid.clone())
            .bind(changes.email.clone())
            .bind(changes.first_name.clone())
            .bind(changes.last_name.clone())
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
    let user = find_by(&mut write, id).await?;
    photos::delete_of(&mut write, &user.uuid).await?;
    notes::delete_of(&mut write, &user.uuid).await?;
    profiles::delete_of(&mut write, &user.uuid).await?;
    query(&write, "DELETE FROM users WHERE id = $1::uuid").bind(user.uuid).execute(&mut *write).await?;
    Ok(write.commit().await?)
}

/// The key of the user with this public id, inside a write.
pub(super) async fn key(write: &mut AnyConnection, id: i64) -> Result<String, Error> {
    let row = query(write, "SELECT id::text FROM users WHERE legacy_id = $1").bind(id).fetch_optional(write).await?;
    Ok(row.ok_or(Error::NotFound("There is no such user."))?.try_get(0)?)
}

impl Changes {
    fn touches_user(&self) -> bool {
        self.email.is_some() || self.first_name.is_some() || self.last_name.is_some() || self.is_active.is_some()
    }
}

async fn commit_and_read(mut write: Write, id: i64) -> Result<User, Error> {
    let user = find_by(&mut write, id).await?;
    write.commit().await?;
    Ok(user)
}

fn user(row: &AnyRow) -> Result<User, sqlx::Error> {
    let role = role(row, "role")?;
    Ok(User {
        id: row.try_get("legacy_id")?,
        username: row.try_get("username")?,
        email: row.try_get("email")?,
        first_name: row.try_get("given_name")?,
        last_name: row.try_get("family_name")?,
        role,
        is_active: row.try_get::<i64, _>("is_active")? != 0,
        date_joined: clock::public(&row.try_get::<String, _>("joined_at")?),
        profile: profiles::public(row, role)?,
        uuid: row.try_get("id")?,
    })
}

fn role(row: &AnyRow, column: &str) -> Result<Role, sqlx::Error> {
    let name: String = row.try_get(column)?;
    Role::named(&name).ok_or_else(|| sqlx::Error::Decode(format!("no role has the name in {column}").into()))
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

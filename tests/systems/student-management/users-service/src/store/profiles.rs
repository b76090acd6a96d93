//! Table `profiles`: what a role knows of its user beyond the account.

use serde::Serialize;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use crate::clock;
use crate::error::Error;
use crate::ids::Table;
use crate::role::Role;

/// A profile in its public shape. What the role does not have is null; the address is then empty.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "the public names of the columns")]
pub struct Profile {
    pub address: String,
    pub gender: Option<String>,
    pub course_id: Option<i64>,
    pub session_year_id: Option<i64>,
}

/// What a new profile says, as far as its role has it.
#[derive(Debug, Default)]
#[expect(missing_docs, reason = "the public names of the columns")]
pub struct NewProfile {
    pub address: String,
    pub gender: Option<String>,
    pub course_id: Option<i64>,
    pub session_year_id: Option<i64>,
}

pub(super) async fn insert(write: &mut SqliteConnection, user: &str, role: Role, new: &NewProfile, now: &str) -> Result<(), Error> {
    const INSERT: &str = "INSERT INTO profiles (id, kind, legacy_id, user_id, address, gender, course_id, \
        session_year_id, created_at, updated_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9)";
    let id = Table::Profiles(role).next_id(write).await?;
    // A student's gender is never null in the monolith.
    let gender = (role == Role::Student).then(|| new.gender.as_deref().unwrap_or(""));
    sqlx::query(INSERT)
        .bind(id.uuid)
        .bind(role.name())
        .bind(id.legacy_id)
        .bind(user)
        .bind(&new.address)
        .bind(gender)
        .bind(new.course_id)
        .bind(new.session_year_id)
        .bind(now)
        .execute(write)
        .await?;
    Ok(())
}

/// Writes what is given; without a profile there is nothing to write to.
pub(super) async fn change(write: &mut SqliteConnection, user: &str, address: Option<&str>, gender: Option<&str>) -> Result<(), Error> {
    const UPDATE: &str = "UPDATE profiles SET address = coalesce(?2, address), gender = coalesce(?3, gender), \
        updated_at = ?4 WHERE user_id = ?1";
    if address.is_some() || gender.is_some() {
        sqlx::query(UPDATE).bind(user).bind(address).bind(gender).bind(clock::now()).execute(write).await?;
    }
    Ok(())
}

pub(super) async fn delete_of(write: &mut SqliteConnection, user: &str) -> Result<(), Error> {
    sqlx::query("DELETE FROM profiles WHERE user_id = ?").bind(user).execute(write).await?;
    Ok(())
}

/// The profile in a row of the join with users; none if it has no profile of the user's role.
pub(super) fn public(row: &SqliteRow, role: Role) -> Result<Option<Profile>, sqlx::Error> {
    let kind: Option<&str> = row.try_get("kind")?;
    if kind != Some(role.name()) {
        return Ok(None);
    }
    let address: Option<String> = row.try_get("address")?;
    let student = role == Role::Student;
    Ok(Some(Profile {
        address: address.filter(|_| role != Role::Admin).unwrap_or_default(),
        gender: row.try_get::<Option<String>, _>("gender")?.filter(|_| student),
        course_id: row.try_get::<Option<i64>, _>("course_id")?.filter(|_| student),
        session_year_id: row.try_get::<Option<i64>, _>("session_year_id")?.filter(|_| student),
    }))
}

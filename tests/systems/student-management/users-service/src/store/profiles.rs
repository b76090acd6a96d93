//! Table `profiles`: what a role knows of its user beyond the account.

use serde::Serialize;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use super::query;
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

pub(super) async fn insert(write: &mut AnyConnection, user: &str, role: Role, new: &NewProfile, now: &str) -> Result<(), Error> {
    const INSERT: &str = "INSERT INTO profiles (id, kind, legacy_id, user_id, address, gender, course_id, \
        session_year_id, created_at, updated_at) VALUES ($1::uuid, $2, $3, $4::uuid, $5, $6, $7, $8, $9::timestamptz, $9::timestamptz)";
    let id = Table::Profiles(role).next_id(write).await?;
    // A student's gender is never null in the monolith.
    let gender = (role == Role::Student).then(|| new.gender.as_deref().unwrap_or(""));
    query(write, INSERT)
        .bind(id.uuid)
        .bind(role.name())
        .bind(id.legacy_id)
        .bind(user.to_owned())
        .bind(new.address.clone())
        .bind(gender.map(ToOwned::to_owned))
        .bind(new.course_id)
        .bind(new.session_year_id)
        .bind(now.to_owned())
        .execute(write)
        .await?;
    Ok(())
}

/// Writes what is given; without a profile there is nothing to write to.
pub(super) async fn change(write: &mut AnyConnection, user: &str, address: Option<&str>, gender: Option<&str>) -> Result<(), Error> {
    const UPDATE: &str = "UPDATE profiles SET address = coalesce($2, address), gender = coalesce($3, gender), \
        updated_at = $4::timestamptz WHERE user_id = $1::uuid";
    if address.is_some() || gender.is_some() {
        let (address, gender) = (address.map(ToOwned::to_owned), gender.map(ToOwned::to_owned));
        query(write, UPDATE).bind(user.to_owned()).bind(address).bind(gender).bind(clock::now()).execute(write).await?;
    }
    Ok(())
}

pub(super) async fn delete_of(write: &mut AnyConnection, user: &str) -> Result<(), Error> {
    query(write, "DELETE FROM profiles WHERE user_id = $1::uuid").bind(user.to_owned()).execute(write).await?;
    Ok(())
}

/// The profile in a row of the join with users; none if it has no profile of the user's role.
pub(super) fn public(row: &AnyRow, role: Role) -> Result<Option<Profile>, sqlx::Error> {
    let kind: Option<String> = row.try_get("kind")?;
    if kind.as_deref() != Some(role.name()) {
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

//! Password hashes in Django's format, which the monolith checks at log-in. Never compares a password.
//!
//! `pbkdf2_sha256$<iterations>$<salt>$<base64 of 32 bytes>`: `PBKDF2PasswordHasher` of `django.contrib.auth.hashers`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rand::RngExt;
use rand::distr::Alphanumeric;
use sha2::Sha256;

use crate::error::Error;

/// 22 of 62 characters carry 131 bits: Django's `salt_entropy` of 128.
const SALT_LENGTH: usize = 22;

/// Hashes with a fresh salt. Takes most of a second of one core at the default cost, off the async threads.
pub async fn hash(password: String, iterations: u32) -> Result<String, Error> {
    tokio::task::spawn_blocking(move || encode(&password, &alphanumeric(SALT_LENGTH), iterations))
        .await
        .map_err(|stopped| Error::internal("hashing a password", stopped))
}

/// Random `[A-Za-z0-9]`, fit for salts and tokens.
pub fn alphanumeric(length: usize) -> String {
    rand::rng().sample_iter(Alphanumeric).take(length).map(char::from).collect()
}

fn encode(password: &str, salt: &str, iterations: u32) -> String {
    let mut key = [0_u8; 32];
    pbkdf2::pbkdf2_hmac::<Sha256>(password.as_bytes(), salt.as_bytes(), iterations, &mut key);
    format!("pbkdf2_sha256${iterations}${salt}${}", STANDARD.encode(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Python: b64encode(hashlib.pbkdf2_hmac("sha256", password, salt, 1000)).
    #[test]
    fn a_hash_is_that_of_django() {
        assert_eq!(
            encode("correct horse é", "Zk3Pq8LmN0xYtR5sWv7UbA", 1000),
            "pbkdf2_sha256$1000$Zk3Pq8LmN0xYtR5sWv7UbA$w42EkTAcck9748O6BPSyFJp4Hv18ceEparhyVyOE+Hc="
        );
    }

    #[tokio::test]
    async fn salts_differ_and_have_djangos_alphabet() {
        let (one, two) = (hash("x".into(), 1).await.expect("hashes"), hash("x".into(), 1).await.expect("hashes"));
        let salt = |text: &str| text.split('$').nth(2).expect("has a salt").to_owned();
        assert_ne!(salt(&one), salt(&two));
        assert_eq!(salt(&one).len(), SALT_LENGTH);
        assert!(salt(&one).chars().all(|letter| letter.is_ascii_alphanumeric()));
    }
}

//! Passwords of `basic_auth`, checked against their hashes. A hash takes a processor for a tenth of a second: what was
//! right is remembered for a while, and only a few are checked at once.

use std::sync::Arc;
use std::time::Duration;

use ficus_rules::plugin::{BasicAuth, PasswordHash};
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

/// How long a password that was right is taken for right: the next request of the page brings it again.
const REMEMBERED: Duration = Duration::from_secs(300);
/// Hashes at once; the others wait.
const AT_ONCE: usize = 2;

/// Checks passwords.
pub(crate) struct Passwords {
    /// Hashes of what was right, with a salt of this process. Never the passwords.
    right: moka::sync::Cache<[u8; 32], ()>,
    salt: [u8; 16],
    room: Arc<Semaphore>,
}

impl Passwords {
    pub(crate) fn new() -> Passwords {
        let right = moka::sync::Cache::builder().max_capacity(10_000).time_to_live(REMEMBERED).build();
        Passwords { right, salt: uuid::Uuid::new_v4().into_bytes(), room: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Whether a name and password are among those that are let in.
    pub(crate) async fn admit(&self, basic: &BasicAuth, brought: Option<(String, String)>) -> bool {
        let Some((name, password)) = brought else { return false };
        // A name that there is not takes as long as a wrong password: another's hash is checked, and counts for nothing.
        let (hash, known) = match basic.users.get(&name) {
            Some(hash) => (hash.clone(), true),
            None => match basic.users.values().next() {
                Some(hash) => (hash.clone(), false),
                None => return false,
            },
        };
        let digest = self.digest(&hash, &name, &password);
        if known && self.right.contains_key(&digest) {
            return true;
        }
        let Ok(place) = self.room.clone().acquire_owned().await else { return false };
        let checked = tokio::task::spawn_blocking(move || {
            let _place = place;
            fits(&hash, &password)
        });
        let right = checked.await.unwrap_or(false) && known;
        if right {
            self.right.insert(digest, ());
        }
        right
    }

    fn digest(&self, hash: &PasswordHash, name: &str, password: &str) -> [u8; 32] {
        let mut digest = Sha256::new_with_prefix(self.salt);
        match hash {
            PasswordHash::Bcrypt(text) => digest.update(text),
            PasswordHash::Pbkdf2 { hash, salt, .. } => {
                digest.update(hash);
                digest.update(salt);
            }
        }
        for part in [name, password] {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
        digest.finalize().into()
    }
}

fn fits(hash: &PasswordHash, password: &str) -> bool {
    match hash {
        PasswordHash::Bcrypt(text) => bcrypt::verify(password, text).unwrap_or(false),
        PasswordHash::Pbkdf2 { rounds, salt, hash } => {
            let mut made = [0; 32];
            pbkdf2::pbkdf2_hmac::<Sha256>(password.as_bytes(), salt.as_bytes(), *rounds, &mut made);
            subtle::ConstantTimeEq::ct_eq(&made[..], &hash[..]).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use ficus_rules::plugin::{BasicAuth, PasswordHash};

    use super::Passwords;

    #[tokio::test]
    async fn a_name_is_let_in_by_its_own_password_in_both_forms() {
        // `htpasswd -nbB -C 4 ops sesame`, and Django's `make_password('öffne dich', 'salt')` with 1,000 rounds.
        let bcrypt = bcrypt::hash("sesame", 4).expect("a hash");
        let django = "pbkdf2_sha256$1000$salt$8I5koMVb6HjgW29RDSq2a7moSKBiP1LkxXT7m4qmKis=";
        let parsed = |text: &str| PasswordHash::parse(text).expect("a hash");
        let users = [("ops".to_owned(), parsed(&bcrypt)), ("ana".to_owned(), parsed(django))].into();
        let basic = BasicAuth { realm: "internal".to_owned(), users };
        let passwords = Passwords::new();
        for (name, password, right) in [
            ("ops", "sesame", true),
            ("ops", "sesame", true),
            ("ops", "Sesame", false),
            ("ops", "", false),
            ("ana", "öffne dich", true),
            ("ana", "sesame", false),
            ("eve", "sesame", false),
            ("eve", "öffne dich", false),
        ] {
            let brought = Some((name.to_owned(), password.to_owned()));
            assert_eq!(passwords.admit(&basic, brought).await, right, "{name} {password}");
        }
        assert!(!passwords.admit(&basic, None).await);
    }
}

//! The beginning of a connection: the server's greeting, the wish for TLS, and the proof of the
//! password by one of the methods that servers ask for.

use super::wire::{Bytes, Fault, Wire};
use common::sha256;
use ring::digest;

/// Capabilities; one holds if both sides name it. This client names only those that it needs, so no packet
/// has further parts.
mod can {
    pub(super) const LONG_PASSWORD: u32 = 1;
    pub(super) const LONG_FLAG: u32 = 1 << 2;
    pub(super) const PROTOCOL_41: u32 = 1 << 9;
    pub(super) const TLS: u32 = 1 << 11;
    pub(super) const TRANSACTIONS: u32 = 1 << 13;
    pub(super) const SECURE_CONNECTION: u32 = 1 << 15;
    pub(super) const PLUGIN_AUTH: u32 = 1 << 19;
    /// Without them there is no login.
    pub(super) const NEEDED: u32 = PROTOCOL_41 | SECURE_CONNECTION;
    pub(super) const ALL: u32 = LONG_PASSWORD | LONG_FLAG | TRANSACTIONS | NEEDED | PLUGIN_AUTH;
}

/// Bytes of the server's challenge.
const CHALLENGE: usize = 20;
/// The longest packet that the client would take: 16 MiB, as any client says.
const PACKET: u32 = 1 << 24;
/// utf8mb4_general_ci
const CHARSET: u8 = 45;
/// A login takes at most this many messages of the server.
const STEPS: usize = 8;

const NATIVE: &str = "mysql_native_password";
const CACHING: &str = "caching_sha2_password";

/// The first words of a server.
#[derive(Debug)]
pub(super) struct Greeting {
    /// Its version: `8.0.40`, `10.11.19-MariaDB-...`
    pub(super) version: String,
    can: u32,
    method: String,
    challenge: Vec<u8>,
}

impl Greeting {
    /// Receives it.
    pub(super) fn receive(wire: &mut Wire) -> Result<Greeting, Fault> {
        let packet = wire.receive()?;
        if packet[0] != 10 {
            return Err(Fault::Protocol("no greeting of protocol 10"));
        }
        let mut bytes = Bytes(&packet[1..]);
        let version = name(bytes.until_zero());
        let short = Fault::Protocol("a short greeting");
        Greeting::rest(bytes, version).ok_or(short)
    }

    fn rest(mut bytes: Bytes, version: String) -> Option<Greeting> {
        let _thread = bytes.take(4)?;
        let mut challenge = bytes.take(8)?.to_vec();
        let _filler = bytes.take(1)?;
        let low = bytes.take(2)?;
        let mut can = u32::from(low[0]) | u32::from(low[1]) << 8;
        let mut method = String::new();
        // Servers before 4.1 end here
        if let Some(more) = bytes.take(16) {
            can |= u32::from(more[3]) << 16 | u32::from(more[4]) << 24;
            challenge.extend_from_slice(bytes.take(12)?);
            let length = usize::from(more[5]).max(21) - 8;
            let _rest = bytes.take(length - 12);
            method = name(bytes.until_zero());
        }
        Some(Greeting {
            // Servers from MariaDB 10 on say this first, for old replicas
            version: version
                .strip_prefix("5.5.5-")
                .unwrap_or(&version)
                .to_owned(),
            can,
            method,
            challenge,
        })
    }

    /// Whether the server offers TLS.
    pub(super) fn offers_tls(&self) -> bool {
        self.can & can::TLS != 0
    }

    /// Says that TLS begins behind this packet.
    pub(super) fn ask_for_tls(&self, wire: &mut Wire) -> Result<(), Fault> {
        wire.send(&self.header(true))
    }

    fn header(&self, tls: bool) -> Vec<u8> {
        let tls = if tls { can::TLS } else { 0 };
        let mut packet = Vec::with_capacity(128);
        packet.extend_from_slice(&(can::ALL & (self.can | can::LONG_PASSWORD) | tls).to_le_bytes());
        packet.extend_from_slice(&PACKET.to_le_bytes());
        packet.push(CHARSET);
        packet.extend_from_slice(&[0; 23]);
        packet
    }

    /// Logs in.
    ///
    /// # Errors
    /// The server's refusal, or the agent's if the password would have to be shown to others.
    pub(super) fn log_in(&self, wire: &mut Wire, account: &Account) -> Result<(), Fault> {
        if self.can & can::NEEDED != can::NEEDED {
            return Err(Fault::Refused(
                "it is older than MySQL 4.1 and has no safe login".to_owned(),
            ));
        }
        let mut method = match self.method.as_str() {
            CACHING => CACHING,
            _ => NATIVE,
        }
        .to_owned();
        let proof = proof(&method, account.password.as_bytes(), &self.challenge);
        let mut packet = self.header(account.tls);
        packet.extend_from_slice(account.user.as_bytes());
        packet.push(0);
        packet.push(proof.len() as u8);
        packet.extend_from_slice(&proof);
        packet.extend_from_slice(method.as_bytes());
        packet.push(0);
        wire.send(&packet)?;
        for _ in 0..STEPS {
            let packet = wire.receive()?;
            let answer = match packet[0] {
                0 => return Ok(()),
                0xFE => {
                    let mut bytes = Bytes(&packet[1..]);
                    method = name(bytes.until_zero());
                    let challenge = &bytes.0[..bytes.0.len().min(CHALLENGE)];
                    self.answer(&method, challenge, account)?
                }
                1 if method == CACHING => match packet.get(1) {
                    Some(3) => continue,
                    Some(4) => account.in_clear(CACHING)?,
                    _ => return Err(Fault::Protocol("an unknown step of the login")),
                },
                _ => return Err(Fault::Protocol("an unknown step of the login")),
            };
            wire.send(&answer)?;
        }
        Err(Fault::Protocol("a login without end"))
    }

    /// The answer to the wish for another method.
    fn answer(&self, method: &str, challenge: &[u8], account: &Account) -> Result<Vec<u8>, Fault> {
        match method {
            NATIVE | CACHING => Ok(proof(method, account.password.as_bytes(), challenge)),
            "sha256_password" | "mysql_clear_password" => account.in_clear(method),
            // The kernel tells the server the user
            "auth_socket" | "unix_socket" => Ok(Vec::new()),
            "" => Err(Fault::Refused(
                "it asks for the login of MySQL before 4.1, which is not safe: give the account a new password"
                    .to_owned(),
            )),
            other => Err(Fault::Refused(format!(
                "the account \"{}\" logs in by {}, which this agent does not speak: give it one of {CACHING} \
                 (MySQL) or {NATIVE} (MariaDB)",
                account.user,
                other.escape_debug()
            ))),
        }
    }
}

/// A name that the server gives, as far as it is not longer than such names are.
fn name(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(100)]).into_owned()
}

/// The user of the server, and how it is reached.
pub(super) struct Account<'a> {
    pub(super) user: &'a str,
    pub(super) password: &'a str,
    /// The connection is in TLS.
    pub(super) tls: bool,
    /// Nobody can read along.
    pub(super) private: bool,
}

impl Account<'_> {
    /// The password itself.
    fn in_clear(&self, method: &str) -> Result<Vec<u8>, Fault> {
        if self.private {
            let mut answer = self.password.as_bytes().to_vec();
            answer.push(0);
            return Ok(answer);
        }
        Err(Fault::Refused(format!(
            "it wants the password of \"{}\" itself ({method}), which is sent over TLS or a Unix socket only: set \
             tls to \"verify\" or \"require\", or use database_socket{}",
            self.user,
            if method == CACHING {
                "; or have a program log in to this account over TLS, after which the server remembers the password \
                 until it restarts"
            } else {
                ""
            }
        )))
    }
}

/// Shows the server that the password is known, without showing it. Empty for an empty password.
fn proof(method: &str, password: &[u8], challenge: &[u8]) -> Vec<u8> {
    if password.is_empty() {
        return Vec::new();
    }
    let xor = |a: &[u8], b: &[u8]| a.iter().zip(b).map(|(a, b)| a ^ b).collect();
    if method == CACHING {
        let once = sha256::digest(password);
        let twice = sha256::digest(&once);
        return xor(&once, &sha256::digest(&[&twice[..], challenge].concat()));
    }
    let sha1 = |text: &[u8]| digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text);
    let once = sha1(password);
    let twice = sha1(once.as_ref());
    let mixed = sha1(&[challenge, twice.as_ref()].concat());
    xor(once.as_ref(), mixed.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proofs_of_passwords_are_those_of_other_clients() {
        let challenge: Vec<u8> = (1..=20).collect();
        for (method, proved) in [
            (NATIVE, "b32bb3a583e1340c0a1108d58b1be49781ad8c2f"),
            (
                CACHING,
                "746ebe205d56a0707acb3e796e834e0dd7b1d61743b26bd5202c7a623230c7c9",
            ),
        ] {
            let bytes = proof(method, b"secret", &challenge);
            let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
            assert_eq!(hex, proved, "{method}");
        }
        assert!(proof(NATIVE, b"", &challenge).is_empty());
    }
}

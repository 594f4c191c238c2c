//! SCRAM-SHA-256 (RFC 5802 and 7677), the password exchange of PostgreSQL since version 10: neither
//! side shows the other what it could log in with.
//!
//! Passwords are used as they are, without SASLprep: this differs only for some that are not ASCII.

use common::sha256::digest;

/// More rounds than these are refused: they would take seconds. Servers have 4096 by default.
const MOST_ROUNDS: u32 = 1_000_000;

/// A password with salt and rounds, which is the same at each log-in: making it costs
/// some 10 ms.
#[derive(Default)]
pub struct Salted {
    of: (Vec<u8>, Vec<u8>, u32),
    key: [u8; 32],
}

/// An exchange, after the client's first message.
pub struct Exchange {
    nonce: String,
    /// The server's signature of all that was said; empty before the second message.
    expected: String,
}

impl Exchange {
    /// Begins one; `nonce` is random and printable, without a comma.
    pub fn new(nonce: String) -> Exchange {
        Exchange {
            nonce,
            expected: String::new(),
        }
    }

    /// The first message. The server knows the user's name already.
    pub fn first(&self) -> String {
        format!("n,,n=,r={}", self.nonce)
    }

    /// The answer to the server's first message; `give_up` is asked now and then.
    ///
    /// # Errors
    /// The message makes no sense or asks for too much.
    pub fn proof(
        &mut self,
        server_first: &str,
        password: &[u8],
        salted: &mut Salted,
        give_up: &dyn Fn() -> bool,
    ) -> Result<String, &'static str> {
        let part = |name: &str| {
            let mut parts = server_first.split(',');
            parts.find_map(|part| part.strip_prefix(name))
        };
        let nonce = part("r=").filter(|nonce| {
            nonce.len() > self.nonce.len() && nonce.starts_with(self.nonce.as_str())
        });
        let salt = part("s=").and_then(decode);
        let rounds = part("i=").and_then(|n| n.parse::<u32>().ok());
        let (Some(nonce), Some(salt), Some(rounds)) = (nonce, salt, rounds) else {
            return Err("its SCRAM message is malformed");
        };
        if rounds == 0 || rounds > MOST_ROUNDS {
            return Err(
                "it asks for more than 1000000 rounds of SCRAM, or for none (scram_iterations)",
            );
        }
        let key = salted.key(password, salt, rounds, give_up)?;
        let client = hmac(&key, b"Client Key");
        let bare = format!("c=biws,r={nonce}");
        let said = format!("n=,r={},{server_first},{bare}", self.nonce);
        let mut proof = hmac(&digest(&client), said.as_bytes());
        proof.iter_mut().zip(client).for_each(|(p, c)| *p ^= c);
        let server = hmac(&key, b"Server Key");
        self.expected = encode(&hmac(&server, said.as_bytes()));
        Ok(format!("{bare},p={}", encode(&proof)))
    }

    /// Whether the server's last message proves that it knows the password too.
    pub fn is_proven(&self, server_final: &str) -> bool {
        let signature = server_final.strip_prefix("v=");
        !self.expected.is_empty() && signature == Some(self.expected.as_str())
    }
}

impl Salted {
    /// PBKDF2 with one block.
    fn key(
        &mut self,
        password: &[u8],
        salt: Vec<u8>,
        rounds: u32,
        give_up: &dyn Fn() -> bool,
    ) -> Result<[u8; 32], &'static str> {
        if self.of.0 == password && self.of.1 == salt && self.of.2 == rounds {
            return Ok(self.key);
        }
        let mut last = hmac(password, &[&salt[..], &[0, 0, 0, 1]].concat());
        let mut key = last;
        for round in 1..rounds {
            if round % 1024 == 0 && give_up() {
                return Err("its SCRAM takes too many rounds for this machine (scram_iterations)");
            }
            last = hmac(password, &last);
            key.iter_mut().zip(last).for_each(|(k, l)| *k ^= l);
        }
        *self = Salted {
            of: (password.to_vec(), salt, rounds),
            key,
        };
        Ok(key)
    }
}

fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut block = [0u8; 64];
    if key.len() > block.len() {
        block[..32].copy_from_slice(&digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let inner = digest(&[&block.map(|b| b ^ 0x36)[..], message].concat());
    digest(&[&block.map(|b| b ^ 0x5C)[..], &inner].concat())
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Base64 with padding.
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let n = (0..3).fold(0u32, |n, i| n << 8 | u32::from(*group.get(i).unwrap_or(&0)));
        for k in 0..4 {
            text.push(match k <= group.len() {
                true => char::from(ALPHABET[(n >> (18 - 6 * k)) as usize & 63]),
                false => '=',
            });
        }
    }
    text
}

fn decode(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    if text.len() % 4 != 0 || text.len() - digits.len() > 2 {
        return None;
    }
    let mut bytes = Vec::new();
    let (mut held, mut bits) = (0u32, 0);
    for digit in digits.bytes() {
        let value = ALPHABET.iter().position(|&a| a == digit)?;
        held = held << 6 | value as u32;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits) as u8);
            held &= (1 << bits) - 1;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    #[test]
    fn hmac_and_base64_are_those_of_the_standards() {
        // RFC 4231, cases 2 and 6
        assert_eq!(
            hex(&hmac(b"Jefe", b"what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert_eq!(
            hex(&hmac(
                &[0xAA; 131],
                b"Test Using Larger Than Block-Size Key - Hash Key First"
            )),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        );
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(encode(bytes.as_bytes()), text);
            assert_eq!(decode(text).unwrap(), bytes.as_bytes());
        }
        for text in ["Z", "Zg=", "====", "Z-==", "Zm9v="] {
            assert_eq!(decode(text), None, "{text}");
        }
    }

    /// The example of RFC 7677 has a user name, which PostgreSQL's clients leave out.
    #[test]
    fn the_example_of_the_standard_is_reproduced() {
        let mut salted = Salted::default();
        let salt = decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let key = salted
            .key(b"pencil", salt.clone(), 4096, &|| false)
            .unwrap();
        let said = "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let client = hmac(&key, b"Client Key");
        let mut proof = hmac(&digest(&client), said.as_bytes());
        proof.iter_mut().zip(client).for_each(|(p, c)| *p ^= c);
        assert_eq!(
            encode(&proof),
            "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        let server = hmac(&hmac(&key, b"Server Key"), said.as_bytes());
        assert_eq!(
            encode(&server),
            "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
        );
        // A second log-in costs nothing, even where there is no time left
        assert_eq!(salted.key(b"pencil", salt, 4096, &|| true), Ok(key));
    }

    #[test]
    fn a_server_that_cheats_is_refused() {
        let nonce = "abc".to_owned();
        let mut salted = Salted::default();
        let mut proof = |first: &str, late: bool| {
            let mut exchange = Exchange::new(nonce.clone());
            exchange
                .proof(first, b"x", &mut salted, &|| late)
                .map(|_| exchange)
        };
        for first in [
            "",
            "r=abc,s=AAAA,i=4096",
            "r=xyzabc,s=AAAA,i=4096",
            "r=abcd,s=*,i=4096",
            "r=abcd,s=AAAA,i=-1",
            "r=abcd,s=AAAA,i=0",
            "r=abcd,s=AAAA,i=4294967295",
            "r=abcd,s=AAAA",
        ] {
            assert!(proof(first, false).is_err(), "{first}");
        }
        assert!(proof("r=abcd,s=AAAA,i=900000", true).is_err());
        let exchange = proof("r=abcd,s=AAAA,i=2", false).ok().unwrap();
        assert!(
            !exchange.is_proven("v=AAAA")
                && !exchange.is_proven("e=other-error")
                && !exchange.is_proven("v=")
        );
        assert!(!Exchange::new("a".to_owned()).is_proven("v="));
        assert!(exchange.is_proven(&format!("v={}", exchange.expected)));
    }
}

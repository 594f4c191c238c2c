//! The user-based security model of SNMPv3 (RFC 3414, 3826, 7860): keys of passwords, digests of
//! messages, and encryption. Nothing here does input or output.

use crate::service::md5::md5;
use aes::cipher::{BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use common::sha256::digest_224;
use ring::digest;

/// How messages are authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    None,
    Md5,
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

/// How messages are encrypted. The standards say how a digest that is shorter than the key becomes
/// one for DES and AES-128 only. For the others there are two ways: `Aes192` and `Aes256` are
/// those of net-snmp (Blumenthal), `Aes192C`, `Aes256C` and `TripleDes` those of Cisco (Reeder).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Privacy {
    None,
    Des,
    TripleDes,
    Aes128,
    Aes192,
    Aes256,
    Aes192C,
    Aes256C,
}

/// Names of `auth_protocol`, in lower case without `-`, `_` and blanks.
pub const AUTHS: [(&str, Auth); 8] = [
    ("none", Auth::None),
    ("md5", Auth::Md5),
    ("sha", Auth::Sha1),
    ("sha1", Auth::Sha1),
    ("sha224", Auth::Sha224),
    ("sha256", Auth::Sha256),
    ("sha384", Auth::Sha384),
    ("sha512", Auth::Sha512),
];

/// Names of `priv_protocol`, in the same way.
pub const PRIVACIES: [(&str, Privacy); 10] = [
    ("none", Privacy::None),
    ("des", Privacy::Des),
    ("3des", Privacy::TripleDes),
    ("aes", Privacy::Aes128),
    ("aes128", Privacy::Aes128),
    ("aes192", Privacy::Aes192),
    ("aes256", Privacy::Aes256),
    ("aes192c", Privacy::Aes192C),
    ("aes256c", Privacy::Aes256C),
    ("3desede", Privacy::TripleDes),
];

/// A digest of 16 to 64 bytes.
#[derive(Clone, Copy)]
pub struct Digest {
    bytes: [u8; 64],
    length: usize,
}

impl Digest {
    /// Of at most 64 bytes; more are cut off.
    pub fn new(from: &[u8]) -> Digest {
        let length = from.len().min(64);
        let mut bytes = [0; 64];
        bytes[..length].copy_from_slice(&from[..length]);
        Digest { bytes, length }
    }

    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl Auth {
    /// The digest of all parts, one after another; empty for none.
    fn digest(self, parts: &[&[u8]]) -> Digest {
        let algorithm = match self {
            Auth::None => return Digest::new(&[]),
            Auth::Md5 => return Digest::new(&md5(parts)),
            Auth::Sha224 => return Digest::new(&digest_224(parts)),
            Auth::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Auth::Sha256 => &digest::SHA256,
            Auth::Sha384 => &digest::SHA384,
            Auth::Sha512 => &digest::SHA512,
        };
        let mut context = digest::Context::new(algorithm);
        parts.iter().for_each(|part| context.update(part));
        Digest::new(context.finish().as_ref())
    }

    /// Bytes of a message's authentication field.
    pub fn field(self) -> usize {
        match self {
            Auth::None => 0,
            Auth::Md5 | Auth::Sha1 => 12,
            Auth::Sha224 => 16,
            Auth::Sha256 => 24,
            Auth::Sha384 => 32,
            Auth::Sha512 => 48,
        }
    }

    /// The authentication field of a message, given in parts: its HMAC, cut off.
    pub fn sign(self, key: &Digest, parts: &[&[u8]]) -> Digest {
        let block = match self {
            Auth::Sha384 | Auth::Sha512 => 128,
            _ => 64,
        };
        let (mut inner, mut outer) = ([0x36; 128], [0x5C; 128]);
        for (at, byte) in key.as_slice().iter().enumerate() {
            inner[at] ^= byte;
            outer[at] ^= byte;
        }
        let mut all = vec![&inner[..block]];
        all.extend_from_slice(parts);
        let within = self.digest(&all);
        let whole = self.digest(&[&outer[..block], within.as_slice()]);
        Digest::new(&whole.as_slice()[..self.field()])
    }

    /// The key of a password for any agent: the digest of a mebibyte of it. Takes milliseconds.
    pub fn key(self, password: &[u8]) -> Digest {
        const MEBIBYTE: usize = 1 << 20;
        if password.is_empty() || self == Auth::None {
            return Digest::new(&[]);
        }
        let piece = password.repeat(4096_usize.div_ceil(password.len()));
        let mut parts = vec![&piece[..]; MEBIBYTE / piece.len()];
        parts.push(&piece[..MEBIBYTE % piece.len()]);
        self.digest(&parts)
    }

    /// A key of [`Auth::key`] for one agent.
    pub fn localize(self, key: &Digest, engine: &[u8]) -> Digest {
        self.digest(&[key.as_slice(), engine, key.as_slice()])
    }

    /// Whether the field is that of the message. Takes as long for any wrong one.
    pub fn is_signed(self, key: &Digest, parts: &[&[u8]], field: &[u8]) -> bool {
        let expected = self.sign(key, parts);
        let pairs = expected.as_slice().iter().zip(field);
        field.len() == self.field() && pairs.fold(0, |bits, (a, b)| bits | (a ^ b)) == 0
    }
}

impl Privacy {
    /// The key of a localised digest: as many bytes as the cipher takes, with those that make the
    /// initialisation vector behind.
    pub fn key(self, auth: Auth, localized: &Digest, engine: &[u8]) -> Vec<u8> {
        let wanted = match self {
            Privacy::None => 0,
            Privacy::Des | Privacy::Aes128 => 16,
            Privacy::Aes192 | Privacy::Aes192C => 24,
            Privacy::TripleDes | Privacy::Aes256 | Privacy::Aes256C => 32,
        };
        let mut key = localized.as_slice().to_vec();
        // No digest of nothing: the loop would not end
        while key.len() < wanted && !key.is_empty() {
            let more = match self {
                Privacy::Aes192 | Privacy::Aes256 => auth.digest(&[&key]),
                _ => auth.localize(&auth.key(&key), engine),
            };
            key.extend_from_slice(more.as_slice());
        }
        key.truncate(wanted);
        key
    }

    /// Encrypts what a message holds. `salt` differs for each message of a key, and the message
    /// tells it; `boots` and `time` are those that the message tells.
    pub fn encrypt(self, key: &[u8], (boots, time): (u32, u32), salt: [u8; 8], data: &mut Vec<u8>) {
        match self {
            Privacy::None => {}
            Privacy::Des | Privacy::TripleDes => {
                data.resize(data.len().next_multiple_of(8), 0);
                self.chained(key, salt, data, true);
            }
            _ => self.feedback(key, (boots, time), salt, data, true),
        }
    }

    /// Decrypts it in place. False if the message can't be one of this cipher.
    pub fn decrypt(self, key: &[u8], times: (u32, u32), salt: &[u8], data: &mut [u8]) -> bool {
        let Ok(salt) = salt.try_into() else {
            return false;
        };
        match self {
            Privacy::None => return false,
            Privacy::Des | Privacy::TripleDes => {
                if data.len() % 8 != 0 {
                    return false;
                }
                self.chained(key, salt, data, false);
            }
            _ => self.feedback(key, times, salt, data, false),
        }
        true
    }

    /// DES or 3DES in CBC mode. The vector is the end of the key, mixed with the salt.
    fn chained(self, key: &[u8], salt: [u8; 8], data: &mut [u8], encrypt: bool) {
        let length = if self == Privacy::TripleDes { 24 } else { 8 };
        let mut vector = salt;
        let Some((key, mask)) = key.split_at_checked(length) else {
            return;
        };
        for (byte, mask) in vector.iter_mut().zip(mask) {
            *byte ^= mask;
        }
        // Three times the same key is DES
        let mut triple = [0; 24];
        for part in triple.chunks_mut(length) {
            part.copy_from_slice(key);
        }
        let cipher = des::TdesEde3::new(&triple.into());
        for block in data.chunks_exact_mut(8) {
            let Ok(block) = <&mut [u8; 8]>::try_from(block) else {
                continue;
            };
            if encrypt {
                block.iter_mut().zip(vector).for_each(|(b, v)| *b ^= v);
                cipher.encrypt_block(block.into());
                vector = *block;
            } else {
                let next = *block;
                cipher.decrypt_block(block.into());
                block.iter_mut().zip(vector).for_each(|(b, v)| *b ^= v);
                vector = next;
            }
        }
    }

    /// AES in CFB mode with 128 bits fed back.
    fn feedback(
        self,
        key: &[u8],
        (boots, time): (u32, u32),
        salt: [u8; 8],
        data: &mut [u8],
        encrypt: bool,
    ) {
        let cipher: Cipher = match key.len() {
            16 => block_of::<aes::Aes128Enc>(key),
            24 => block_of::<aes::Aes192Enc>(key),
            _ => block_of::<aes::Aes256Enc>(key),
        };
        let mut vector = [0; 16];
        vector[..4].copy_from_slice(&boots.to_be_bytes());
        vector[4..8].copy_from_slice(&time.to_be_bytes());
        vector[8..].copy_from_slice(&salt);
        for block in data.chunks_mut(16) {
            cipher(&mut vector);
            for (byte, fed) in block.iter_mut().zip(&mut vector) {
                let before = *byte;
                *byte ^= *fed;
                *fed = if encrypt { *byte } else { before };
            }
        }
    }
}

/// Encrypts a block in place.
type Cipher = Box<dyn Fn(&mut [u8; 16])>;

/// The cipher of a key. One of a wrong length, which there is not, encrypts with zeros.
fn block_of<C>(key: &[u8]) -> Cipher
where
    C: BlockCipherEncrypt<BlockSize = aes::cipher::consts::U16> + KeyInit + 'static,
{
    match C::new_from_slice(key) {
        Ok(cipher) => Box::new(move |block| cipher.encrypt_block(block.into())),
        Err(_) => Box::new(|block| block.fill(0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    const ENGINE: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];

    #[test]
    fn keys_of_the_standard() {
        // RFC 3414, A.3.1 and A.3.2
        let key = Auth::Md5.key(b"maplesyrup");
        assert_eq!(hex(key.as_slice()), "9faf3283884e92834ebc9847d8edd963");
        let key = Auth::Md5.localize(&key, &ENGINE);
        assert_eq!(hex(key.as_slice()), "526f5eed9fcce26f8964c2930787d82b");
        let key = Auth::Sha1.key(b"maplesyrup");
        let own = "9fb5cc0381497b3793528939ff788d5d79145211";
        assert_eq!(hex(key.as_slice()), own);
        let key = Auth::Sha1.localize(&key, &ENGINE);
        let localized = "6695febc9288e36282235fc7151f128497b38f3f";
        assert_eq!(hex(key.as_slice()), localized);
    }

    #[test]
    fn longer_keys_and_3des_are_those_of_other_managers() {
        // As pysnmp makes them of the password and engine of RFC 3414; the drafts have the first too
        for (auth, privacy, expected) in [
            (
                Auth::Md5,
                Privacy::TripleDes,
                "526f5eed9fcce26f8964c2930787d82b79eff44a90650ee0a3a40abfac5acc12",
            ),
            (
                Auth::Md5,
                Privacy::Aes192C,
                "526f5eed9fcce26f8964c2930787d82b79eff44a90650ee0",
            ),
            (
                Auth::Md5,
                Privacy::Aes192,
                "526f5eed9fcce26f8964c2930787d82bfa24a92467426c2f",
            ),
            (
                Auth::Sha1,
                Privacy::Aes256C,
                "6695febc9288e36282235fc7151f128497b38f3f9b8b6d78936ba6e7d19dfd9c",
            ),
            (
                Auth::Sha1,
                Privacy::Aes256,
                "6695febc9288e36282235fc7151f128497b38f3f505e07eb9af25568fa1f5dbe",
            ),
        ] {
            let localized = auth.localize(&auth.key(b"maplesyrup"), &ENGINE);
            assert_eq!(hex(&privacy.key(auth, &localized, &ENGINE)), expected);
        }
        let localized = Auth::Md5.localize(&Auth::Md5.key(b"maplesyrup"), &ENGINE);
        let key = Privacy::TripleDes.key(Auth::Md5, &localized, &ENGINE);
        let salt = [0, 0, 0, 3, 0xEC, 0x8B, 0x81, 0x67];
        let mut data = b"sixteen bytes ok12345678".to_vec();
        Privacy::TripleDes.encrypt(&key, (3, 4), salt, &mut data);
        let expected = "631db83f2b3ed619026b7cea6d49e4d640886824a328d6f2";
        assert_eq!(hex(&data), expected);
    }

    #[test]
    fn signatures_of_the_standard() {
        // RFC 2202 and RFC 4231: "what do ya want for nothing?" with the key "Jefe"
        let key = Digest::new(b"Jefe");
        let text: &[&[u8]] = &[b"what do ya want ", b"for nothing?"];
        for (auth, expected) in [
            (Auth::Md5, "750c783e6ab0b503eaa86e31"),
            (Auth::Sha1, "effcdf6ae5eb2fa2d27416d5"),
            (Auth::Sha224, "a30e01098bc6dbbf45690f3a7e9e6d0f"),
            (
                Auth::Sha256,
                "5bdcc146bf60754e6a042426089575c75a003f089d273983",
            ),
            (
                Auth::Sha384,
                "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e",
            ),
            (
                Auth::Sha512,
                "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fd",
            ),
        ] {
            let field = auth.sign(&key, text);
            assert_eq!(hex(field.as_slice()), expected);
            assert!(auth.is_signed(&key, text, field.as_slice()));
            assert!(!auth.is_signed(&key, text, &field.as_slice()[1..]));
            assert!(!auth.is_signed(&key, &text[1..], field.as_slice()));
        }
    }

    #[test]
    fn ciphers_of_the_standards() {
        // FIPS 197 by CFB of one block: the vector is the plain text, the data are zeros
        let vector = [
            0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xAA, 0xBB, 0xCC, 0xDD,
            0xEE, 0xFF,
        ];
        let word = |at: usize| u32::from_be_bytes(vector[at..at + 4].try_into().unwrap());
        let salt: [u8; 8] = vector[8..].try_into().unwrap();
        let key: Vec<u8> = (0..32).collect();
        for (privacy, length, expected) in [
            (Privacy::Aes128, 16, "69c4e0d86a7b0430d8cdb78070b4c55a"),
            (Privacy::Aes192, 24, "dda97ca4864cdfe06eaf70a0ec0d7191"),
            (Privacy::Aes256C, 32, "8ea2b7ca516745bfeafc49904b496089"),
        ] {
            let mut data = vec![0; 16];
            privacy.encrypt(&key[..length], (word(0), word(4)), salt, &mut data);
            assert_eq!(hex(&data), expected);
        }
        // The classical example of DES: 0123456789ABCDEF with 133457799BBCDFF1, vector 0
        let mut data = vec![0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF];
        let key = [
            0x13, 0x34, 0x57, 0x79, 0x9B, 0xBC, 0xDF, 0xF1, 0, 0, 0, 0, 0, 0, 0, 0,
        ];
        Privacy::Des.encrypt(&key, (0, 0), [0; 8], &mut data);
        assert_eq!(hex(&data), "85e813540f0ab405");
    }

    #[test]
    fn what_is_encrypted_is_decrypted() {
        let key = Auth::Md5.localize(&Auth::Md5.key(b"a password"), &ENGINE);
        for (name, privacy) in PRIVACIES {
            if privacy == Privacy::None {
                continue;
            }
            let key = privacy.key(Auth::Md5, &key, &ENGINE);
            for length in [0, 1, 8, 15, 16, 17, 100] {
                let plain: Vec<u8> = (0..length).collect();
                let mut data = plain.clone();
                privacy.encrypt(&key, (3, 4), [9; 8], &mut data);
                assert!(length < 8 || data[..8] != plain[..8], "{name}");
                assert!(privacy.decrypt(&key, (3, 4), &[9; 8], &mut data));
                assert_eq!(data[..usize::from(length)], plain, "{name}");
            }
            assert!(!privacy.decrypt(&key, (3, 4), &[9; 7], &mut [0; 8]));
        }
        assert!(!Privacy::Des.decrypt(&key.as_slice()[..16], (0, 0), &[0; 8], &mut [0; 9]));
    }
}

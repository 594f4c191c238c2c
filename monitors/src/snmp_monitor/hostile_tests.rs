//! Mutated messages and MIB files: nothing panics, and nothing is believed that is not signed.

use super::message;
use super::session::{Memory, User};
use super::usm::{Auth, Privacy};
use super::{mib, Names};

/// Of xorshift64*: the same on every machine.
struct Dice(u64);

impl Dice {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % below.max(1)
    }

    /// Changes, inserts, removes, repeats or cuts off some bytes.
    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        const TELLING: [u8; 12] = [
            0, 1, 0x02, 0x04, 0x06, 0x30, 0x7F, 0x80, 0x82, 0x84, 0xA2, 0xFF,
        ];
        for _ in 0..=self.next(4) {
            let at = self.next(bytes.len());
            match self.next(6) {
                _ if bytes.is_empty() => bytes.push(0x30),
                0 => bytes[at] = TELLING[self.next(TELLING.len())],
                1 => bytes[at] ^= 1 << self.next(8),
                2 => bytes.insert(at, TELLING[self.next(TELLING.len())]),
                3 => drop(bytes.remove(at)),
                4 => bytes.truncate(at),
                _ => {
                    let end = (at + self.next(12)).min(bytes.len());
                    let again = bytes[at..end].to_vec();
                    bytes.splice(at..at, again);
                }
            }
        }
    }
}

/// `MUTATIONS`, or as many as take about two seconds unoptimised.
fn rounds(usual: u64) -> u64 {
    let given = std::env::var("MUTATIONS").ok();
    given.and_then(|n| n.parse().ok()).unwrap_or(usual)
}

/// Answers of Debian's snmpd to version 2c, and the version 3 messages that it and we write.
const CORPUS: &str = include_str!("corpus.txt");

fn corpus(kind: &str) -> Vec<Vec<u8>> {
    let lines = CORPUS.lines().filter_map(|line| line.strip_prefix(kind));
    let bytes = |hex: &str| {
        let hex = hex.trim().as_bytes();
        let digit = |d: u8| char::from(d).to_digit(16).unwrap() as u8;
        hex.chunks(2)
            .map(|pair| digit(pair[0]) << 4 | digit(pair[1]))
            .collect()
    };
    let all: Vec<Vec<u8>> = lines.map(bytes).collect();
    assert!(!all.is_empty());
    all
}

#[test]
fn ber_survives_a_million_mutations() {
    let corpus = corpus("v2c");
    let mut dice = Dice(0x1234_5678_9ABC_DEF1);
    let (mut read, mut refused) = (0, 0);
    for _ in 0..rounds(150_000) {
        let mut datagram = corpus[dice.next(corpus.len())].clone();
        dice.mutate(&mut datagram);
        match message::read_with_community(1, &datagram) {
            Ok(pdu) => {
                read += 1;
                assert!(pdu.vars.len() <= datagram.len());
            }
            Err(_) => refused += 1,
        }
    }
    assert!(read > 0 && refused > 0, "{read} {refused}");
    for datagram in corpus {
        assert!(message::read_with_community(1, &datagram).is_ok());
    }
}

fn user(auth: Auth, privacy: Privacy) -> User {
    User {
        name: "sha1aes".to_owned(),
        context: String::new(),
        auth,
        auth_password: "authpassword".to_owned(),
        privacy,
        priv_password: "privpassword".to_owned(),
    }
}

#[test]
fn messages_of_version_3_survive_a_million_mutations() {
    let corpus = corpus("v3");
    let mut dice = Dice(0xDEAD_BEEF_CAFE_F00D);
    let logins = [
        user(Auth::None, Privacy::None),
        user(Auth::Sha1, Privacy::None),
        user(Auth::Sha1, Privacy::Aes128),
        user(Auth::Md5, Privacy::Des),
    ];
    let mut memories: Vec<Memory> = logins.iter().map(|_| Memory::default()).collect();
    for (memory, user) in memories.iter_mut().zip(&logins) {
        memory.make_keys(user);
    }
    for _ in 0..rounds(30_000) {
        let original = &corpus[dice.next(corpus.len())];
        let mut datagram = original.clone();
        dice.mutate(&mut datagram);
        let number = message_id(original);
        let at = dice.next(logins.len());
        let (user, memory) = (&logins[at], &mut memories[at]);
        let believed = memory.is_answer(user, number, &datagram);
        // A changed message is believed only where nothing is signed
        assert!(!believed || user.auth == Auth::None || datagram == *original);
        // So that requests are made with whatever was learnt
        if dice.next(64) == 0 {
            let request = memory.seal(user, message::GET, number, 0, &[vec![1, 3, 6]]);
            assert!(request.len() < 1000);
        }
        if dice.next(10_000) == 0 {
            *memory = Memory::default();
            memory.make_keys(user);
        }
    }
}

fn message_id(datagram: &[u8]) -> i32 {
    let mut message = super::ber::Reader::new(datagram).sequence().unwrap();
    message.int().unwrap();
    message.sequence().unwrap().int32().unwrap()
}

#[test]
fn mib_files_survive_a_million_mutations() {
    let mut dice = Dice(0x0BAD_5EED_0BAD_5EED);
    let source = super::tests::IF_MIB.as_bytes();
    let names = Names::built_in();
    for _ in 0..rounds(4_000) {
        let mut text = source.to_vec();
        dice.mutate(&mut text);
        // The whole way with names that lead in circles or to nothing
        let text = String::from_utf8_lossy(&text).into_owned();
        let modules = [("IF-MIB".to_owned(), mib::parse(&text))];
        assert!(mib::resolved(&names, &modules).len() <= text.len());
    }
}

//! One agent that is asked: requests over UDP with retries, and SNMPv3's discovery and clocks.

use super::ber::{self, Bad, Reader};
use super::message::{self, Oid, Pdu, REPORT, RESPONSE};
use super::usm::{Auth, Digest, Privacy};
use crate::Error;
use common::stop::Stop;
use std::io;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

/// Largest datagram that there is.
const DATAGRAM: usize = 65_535;
/// The stop is looked at this often while an answer is awaited.
const LOOK: Duration = Duration::from_millis(200);
/// Seconds that clocks may differ (RFC 3414).
const WINDOW: u32 = 150;

/// With what an agent is asked.
#[derive(Clone)]
pub enum Login {
    /// Version 1 (0) or 2c (1).
    Community(u8, String),
    User(User),
}

/// A user of SNMPv3.
#[derive(Clone)]
pub struct User {
    pub name: String,
    pub context: String,
    pub auth: Auth,
    pub auth_password: String,
    pub privacy: Privacy,
    pub priv_password: String,
}

/// The part of an agent's state that is kept from one sample to the next.
#[derive(Default)]
pub struct Memory {
    engine: Option<Engine>,
    /// Keys of the passwords, which take milliseconds to make, with those passwords.
    keys: Option<(String, String, Digest, Digest)>,
    /// The last salt.
    salt: u64,
}

/// The agent as SNMPv3 knows it.
struct Engine {
    id: Vec<u8>,
    /// How often and for how long it ran at `at`.
    boots: u32,
    time: u32,
    at: Instant,
    auth_key: Digest,
    priv_key: Vec<u8>,
}

impl Engine {
    /// Its clock now, as far as it is known.
    fn now(&self) -> (u32, u32) {
        let since = u32::try_from(self.at.elapsed().as_secs()).unwrap_or(u32::MAX);
        (self.boots, self.time.saturating_add(since))
    }

    fn set_clock(&mut self, (boots, time): (u32, u32)) {
        (self.boots, self.time, self.at) = (boots, time, Instant::now());
    }
}

/// An answer.
enum Heard {
    Pdu(Pdu),
    /// The agent has told something that the next request has to heed.
    Again,
    /// It will not answer, for this reason.
    Refused(&'static str),
}

/// Takes a datagram as the answer, or tells why not; nothing if it is none of this request.
type Read<'r> = dyn FnMut(&mut Memory, &[u8]) -> Result<Heard, &'static str> + 'r;

/// The bounds of all requests of one sample.
pub struct Limits<'a> {
    /// Per try.
    pub timeout: Duration,
    pub tries: u32,
    /// End of everything.
    pub deadline: Instant,
    pub stop: &'a Stop,
}

pub struct Session<'a> {
    socket: UdpSocket,
    limits: Limits<'a>,
    login: &'a Login,
    memory: &'a mut Memory,
    buffer: Vec<u8>,
}

impl<'a> Session<'a> {
    /// `socket` is connected to the agent.
    pub fn new(
        socket: UdpSocket,
        limits: Limits<'a>,
        login: &'a Login,
        memory: &'a mut Memory,
    ) -> Self {
        Session {
            socket,
            limits,
            login,
            memory,
            buffer: vec![0; DATAGRAM],
        }
    }

    /// Sends a request of this kind and waits for its answer. `repeat` is the number of objects
    /// that GETBULK asks for.
    ///
    /// # Errors
    /// None came, or one that says why there will be none. An error-status is an answer.
    pub fn ask(&mut self, kind: u8, repeat: i64, oids: &[Oid]) -> Result<Pdu, Error> {
        let login = self.login;
        match login {
            Login::Community(version, community) => {
                let request = number();
                let mut pdu = Vec::new();
                message::put_request(&mut pdu, kind, request, repeat, oids);
                let message = message::with_community(*version, community.as_bytes(), &pdu);
                let heard = self.exchange(&mut |_| message.clone(), &mut |_, datagram| {
                    match message::read_with_community(*version, datagram) {
                        Ok(pdu) if pdu.kind == RESPONSE && pdu.request == request => {
                            Ok(Heard::Pdu(pdu))
                        }
                        Ok(_) => Err(""),
                        Err(Bad) => Err(GARBAGE),
                    }
                })?;
                match heard {
                    Heard::Pdu(pdu) => Ok(pdu),
                    _ => Err(Error::new(GARBAGE)),
                }
            }
            Login::User(user) => self.ask_as(user, kind, repeat, oids),
        }
    }

    fn ask_as(&mut self, user: &User, kind: u8, repeat: i64, oids: &[Oid]) -> Result<Pdu, Error> {
        self.memory.make_keys(user);
        // Discovery, an old clock and another engine are one round each
        for _ in 0..4 {
            let request = number();
            let heard = self.exchange(
                &mut |memory| memory.seal(user, kind, request, repeat, oids),
                &mut |memory, datagram| match memory.open(user, request, datagram) {
                    Ok(heard) => heard,
                    Err(Bad) => Err(GARBAGE),
                },
            )?;
            match heard {
                Heard::Pdu(pdu) => return Ok(pdu),
                Heard::Again => {}
                Heard::Refused(why) => return Err(Error::new(why)),
            }
        }
        Err(Error::new(
            "the agent refuses again and again for its clock or its engine id: do two agents answer at this address?",
        ))
    }

    /// Sends what `make` makes, and once more after each time-out, until `read` takes a datagram.
    /// A datagram that it does not take is passed over; the reason is told if nothing better comes.
    fn exchange(
        &mut self,
        make: &mut dyn FnMut(&mut Memory) -> Vec<u8>,
        read: &mut Read,
    ) -> Result<Heard, Error> {
        let limits = &self.limits;
        let mut passed_over = "";
        let mut tries = 0;
        while tries < limits.tries && Instant::now() < limits.deadline {
            tries += 1;
            self.socket
                .send(&make(self.memory))
                .map_err(|error| unreachable(&error))?;
            let end = limits.deadline.min(Instant::now() + limits.timeout);
            loop {
                let left = end.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                if limits.stop.is_set() {
                    return Err(Error::new("the monitor is being stopped"));
                }
                // A time-out of zero would be none
                let wait = left.clamp(Duration::from_millis(1), LOOK);
                self.socket.set_read_timeout(Some(wait))?;
                match self.socket.recv(&mut self.buffer) {
                    Ok(bytes) => match read(self.memory, &self.buffer[..bytes]) {
                        Ok(heard) => return Ok(heard),
                        Err("") => {}
                        Err(why) => passed_over = why,
                    },
                    Err(error) => match error.kind() {
                        io::ErrorKind::WouldBlock
                        | io::ErrorKind::TimedOut
                        | io::ErrorKind::Interrupted => {}
                        _ => return Err(unreachable(&error)),
                    },
                }
            }
        }
        Err(if passed_over.is_empty() {
            let hint = match self.login {
                Login::Community(..) => {
                    " An agent gives no answer to a community that it does not know, nor to a host that it does not allow."
                }
                Login::User(user) if user.privacy != Privacy::None && self.memory.engine.is_some() => {
                    " It has told its engine id: some agents give no answer to what they can't decrypt, so check priv_key and priv_protocol as well."
                }
                Login::User(_) => "",
            };
            Error::new(format!(
                "no answer to any of the requests (tries: {tries}, seconds for each: {}): check host, port and firewalls.{hint}",
                limits.timeout.as_secs_f64()
            ))
        } else {
            Error::new(passed_over)
        })
    }
}

const GARBAGE: &str = "the answers are no SNMP messages of this version";

fn unreachable(error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            Error::new("no SNMP agent listens at this port: the host refuses it")
        }
        _ => Error::new(format!("the request can't be sent: {error}")),
    }
}

/// An identifier that an answer repeats. It can't be guessed, since anybody can send a datagram.
fn number() -> i32 {
    i32::from_le_bytes(common::random::bytes()) & i32::MAX
}

const REPORTABLE: u8 = 4;
const ENCRYPTED: u8 = 2;
const SIGNED: u8 = 1;

impl Memory {
    pub fn make_keys(&mut self, user: &User) {
        let known = self.keys.as_ref();
        let (auth, privacy) = (&user.auth_password, &user.priv_password);
        if known.is_some_and(|(a, p, ..)| a == auth && p == privacy) {
            return;
        }
        self.engine = None;
        self.salt = u64::from_le_bytes(common::random::bytes());
        self.keys = Some((
            auth.clone(),
            privacy.clone(),
            user.auth.key(auth.as_bytes()),
            user.auth.key(privacy.as_bytes()),
        ));
    }

    /// The message of a request; as long as the agent's engine is unknown, the one that asks for it.
    pub fn seal(
        &mut self,
        user: &User,
        kind: u8,
        request: i32,
        repeat: i64,
        oids: &[Oid],
    ) -> Vec<u8> {
        let Some(engine) = &self.engine else {
            let mut pdu = Vec::new();
            message::put_request(&mut pdu, message::GET, request, 0, &[]);
            let scoped = scoped(&[], "", &pdu);
            let (no_key, clock) = (Digest::new(&[]), (0, 0));
            let head = (request, REPORTABLE);
            return wrap(head, &[], clock, "", (Auth::None, &no_key), &[], &scoped);
        };
        let mut pdu = Vec::new();
        message::put_request(&mut pdu, kind, request, repeat, oids);
        let mut data = scoped(&engine.id, &user.context, &pdu);
        let clock = engine.now();
        let mut flags = REPORTABLE;
        let salt;
        let mut told: &[u8] = &[];
        if user.auth != Auth::None {
            flags |= SIGNED;
        }
        if user.privacy != Privacy::None {
            flags |= ENCRYPTED;
            self.salt = self.salt.wrapping_add(1);
            let mut bytes = self.salt.to_be_bytes();
            if matches!(user.privacy, Privacy::Des | Privacy::TripleDes) {
                bytes[..4].copy_from_slice(&clock.0.to_be_bytes());
            }
            salt = bytes;
            let mut secret = std::mem::take(&mut data);
            user.privacy
                .encrypt(&engine.priv_key, clock, salt, &mut secret);
            ber::put(&mut data, ber::OCTETS, &secret);
            told = &salt;
        }
        let (id, key) = (&engine.id, &engine.auth_key);
        let head = (request, flags);
        wrap(head, id, clock, &user.name, (user.auth, key), told, &data)
    }

    /// Reads the answer to that message. `Err` within is the reason to pass over it.
    fn open(
        &mut self,
        user: &User,
        request: i32,
        datagram: &[u8],
    ) -> Result<Result<Heard, &'static str>, Bad> {
        let mut message = Reader::new(datagram).sequence()?;
        if message.int()? != 3 {
            return Err(Bad);
        }
        let mut header = message.sequence()?;
        let (id, _most) = (header.int32()?, header.int()?);
        let flags = *header.of(ber::OCTETS)?.first().ok_or(Bad)?;
        if header.int()? != 3 || id != request {
            return Ok(Err(""));
        }
        let mut usm = Reader::new(message.of(ber::OCTETS)?).sequence()?;
        let engine_id = usm.of(ber::OCTETS)?;
        let unsigned = |number: i32| u32::try_from(number).map_err(|_| Bad);
        let clock = (unsigned(usm.int32()?)?, unsigned(usm.int32()?)?);
        let _user = usm.of(ber::OCTETS)?;
        let field = usm.of(ber::OCTETS)?;
        let salt = usm.of(ber::OCTETS)?;

        let Some(engine) = &mut self.engine else {
            // RFC 3411 has 5 to 32 bytes
            if engine_id.is_empty() || engine_id.len() > 64 {
                return Err(Bad);
            }
            let Some((_, _, auth, privacy)) = &self.keys else {
                return Err(Bad);
            };
            let localized = user.auth.localize(privacy, engine_id);
            self.engine = Some(Engine {
                id: engine_id.to_vec(),
                boots: clock.0,
                time: clock.1,
                at: Instant::now(),
                auth_key: user.auth.localize(auth, engine_id),
                priv_key: user.privacy.key(user.auth, &localized, engine_id),
            });
            return Ok(Ok(Heard::Again));
        };

        let signed = flags & SIGNED != 0 && user.auth != Auth::None;
        if signed {
            // Both are parts of one memory area, so the difference is the place
            let at = field.as_ptr() as usize - datagram.as_ptr() as usize;
            let zeros = [0; 48];
            let parts = [
                &datagram[..at],
                &zeros[..field.len().min(48)],
                &datagram[at + field.len()..],
            ];
            if engine_id != engine.id || !user.auth.is_signed(&engine.auth_key, &parts, field) {
                return Ok(Err(
                    "the answers have a wrong digest: is auth_key that of the user, and auth_protocol the agent's?",
                ));
            }
        }
        let mut plain = Vec::new();
        let mut scoped = if flags & ENCRYPTED != 0 {
            plain.extend_from_slice(message.of(ber::OCTETS)?);
            let privacy = user.privacy;
            let read = privacy.decrypt(&engine.priv_key, clock, salt, &mut plain);
            // Padding may follow
            match Reader::new(&plain).sequence() {
                Ok(reader) if read => reader,
                _ => return Ok(Err(UNREADABLE)),
            }
        } else {
            message.sequence()?
        };
        scoped.of(ber::OCTETS)?;
        scoped.of(ber::OCTETS)?;
        let pdu = message::read_pdu(&mut scoped)?;
        if pdu.kind == REPORT {
            return Ok(Ok(self.report(&pdu, signed, clock)));
        }
        let encrypted = flags & ENCRYPTED != 0;
        if signed != (user.auth != Auth::None) || encrypted != (user.privacy != Privacy::None) {
            return Ok(Err(
                "the answers are not signed or encrypted as the requests are",
            ));
        }
        if signed {
            let (boots, time) = engine.now();
            if clock.0 < boots || (clock.0 == boots && clock.1.saturating_add(WINDOW) < time) {
                return Ok(Err("the answers are older than 150 s by the agent's clock"));
            }
            if clock > (engine.boots, engine.time) {
                engine.set_clock(clock);
            }
        }
        Ok(if pdu.kind == RESPONSE && pdu.request == request {
            Ok(Heard::Pdu(pdu))
        } else {
            Err("")
        })
    }

    /// Whether the datagram is taken as the answer to the request of that number.
    #[cfg(test)]
    pub fn is_answer(&mut self, user: &User, request: i32, datagram: &[u8]) -> bool {
        matches!(self.open(user, request, datagram), Ok(Ok(Heard::Pdu(_))))
    }

    /// The agent tells why it did not answer. `signed`: it knows our key.
    fn report(&mut self, pdu: &Pdu, signed: bool, clock: (u32, u32)) -> Heard {
        let cause = match pdu.vars.first() {
            Some((oid, _)) => oid
                .strip_prefix(&[1, 3, 6, 1, 6, 3, 15, 1, 1])
                .and_then(|rest| rest.first()),
            None => None,
        };
        let engine = &mut self.engine;
        Heard::Refused(match cause {
            Some(1) => {
                "the agent refuses the security level: it wants authentication or encryption, or does not know this auth_protocol or priv_protocol for the user"
            }
            Some(2) => {
                match engine {
                    Some(engine) if signed => engine.set_clock(clock),
                    // Asking for the clock anew does no harm, also if somebody else sent this
                    _ => *engine = None,
                }
                return Heard::Again;
            }
            Some(3) => "the agent does not know this username",
            Some(4) => {
                *engine = None;
                return Heard::Again;
            }
            Some(5) => "the agent finds a wrong digest: check auth_key and auth_protocol",
            Some(6) => UNREADABLE,
            _ => "the agent refuses the request with a report that is not of the user-based security model",
        })
    }
}

const UNREADABLE: &str = "what was encrypted can't be read: check priv_key and priv_protocol. For AES192 and AES256 some agents make keys in another way: try AES192C or AES256C.";

/// A scoped PDU.
fn scoped(engine: &[u8], context: &str, pdu: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    ber::put(&mut body, ber::OCTETS, engine);
    ber::put(&mut body, ber::OCTETS, context.as_bytes());
    body.extend_from_slice(pdu);
    let mut out = Vec::new();
    ber::put(&mut out, ber::SEQUENCE, &body);
    out
}

/// A message of version 3 around `data`, signed with a key.
fn wrap(
    (id, flags): (i32, u8),
    engine: &[u8],
    (boots, time): (u32, u32),
    user: &str,
    (auth, key): (Auth, &Digest),
    salt: &[u8],
    data: &[u8],
) -> Vec<u8> {
    let mut header = Vec::new();
    ber::put_int(&mut header, i64::from(id));
    ber::put_int(&mut header, DATAGRAM as i64);
    ber::put(&mut header, ber::OCTETS, &[flags]);
    ber::put_int(&mut header, 3);
    let mut security = Vec::new();
    ber::put(&mut security, ber::OCTETS, engine);
    ber::put_int(&mut security, i64::from(boots));
    ber::put_int(&mut security, i64::from(time));
    ber::put(&mut security, ber::OCTETS, user.as_bytes());
    ber::put(&mut security, ber::OCTETS, &[0; 48][..auth.field()]);
    let before_salt = security.len();
    ber::put(&mut security, ber::OCTETS, salt);
    let behind = security.len() - before_salt + data.len();
    let mut parameters = Vec::new();
    ber::put(&mut parameters, ber::SEQUENCE, &security);
    let mut body = Vec::new();
    ber::put_int(&mut body, 3);
    ber::put(&mut body, ber::SEQUENCE, &header);
    ber::put(&mut body, ber::OCTETS, &parameters);
    body.extend_from_slice(data);
    let mut message = Vec::new();
    ber::put(&mut message, ber::SEQUENCE, &body);
    // The field is the last thing before the salt
    let field = auth.sign(key, &[&message]);
    let end = message.len() - behind;
    let place = end - auth.field()..end;
    message[place].copy_from_slice(field.as_slice());
    message
}

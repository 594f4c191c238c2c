//! A connection to a server, from the first byte to the results of the statements.

use super::scram::{encode, Exchange, Salted};
use super::wire::{self, Body, Fault, Table};
use crate::service::{md5::md5, Address, Deadline, Link, Security, Wanted};
use crate::Error;
use std::io::{self, BufReader, Read as _, Write as _};

/// Bytes of all answers of one sample.
const MOST_BYTES: usize = 8 << 20;
/// Messages before the first statement can be sent. A server reports some twenty parameters.
const MOST_MESSAGES: u32 = 200;
/// Protocol 3.0
const VERSION: [u8; 4] = [0, 3, 0, 0];
/// The request for TLS in place of the version.
const SSL_REQUEST: [u8; 4] = 80_877_103_u32.to_be_bytes();

/// Why there is no session or no result.
#[derive(Debug)]
pub enum Failure {
    /// The server tells.
    Told(Fault),
    /// Everything else, in words.
    Other(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind as K;
        Failure::Other(match error.kind() {
            K::TimedOut => "it does not answer within timeout".to_owned(),
            K::UnexpectedEof | K::ConnectionReset | K::ConnectionAborted | K::BrokenPipe => {
                "it closed the connection".to_owned()
            }
            _ => error.to_string(),
        })
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Other(error.to_string())
    }
}

fn other<T>(text: impl Into<String>) -> Result<T, Failure> {
    Err(Failure::Other(text.into()))
}

/// The facts that a log-in needs.
pub struct Login<'a> {
    pub address: &'a Address,
    /// The host for its certificate.
    pub host: &'a str,
    pub security: &'a Security,
    pub user: &'a str,
    pub password: &'a str,
    pub database: &'a str,
    pub deadline: &'a Deadline,
}

/// A connection that takes statements.
pub struct Session {
    link: BufReader<Link>,
    left: usize,
    /// The first number of `server_version`; 0 if it is not known.
    pub major: u32,
}

impl Session {
    /// Connects and logs in.
    pub fn open(login: &Login, salted: &mut Salted) -> Result<Session, Failure> {
        let link = Link::connect(login.address, login.deadline)?;
        let link = secure(link, login)?;
        // Whether a password in clear text may be sent
        let is_private = link.is_private() || is_loopback(login.address);
        let mut session = Session {
            link: BufReader::new(link),
            left: MOST_BYTES,
            major: 0,
        };
        let mut out = Vec::new();
        let user = login.user.as_bytes();
        let database = login.database.as_bytes();
        wire::write(
            &mut out,
            0,
            &[
                &VERSION,
                b"user\0",
                user,
                b"\0database\0",
                database,
                b"\0application_name\0scalyr-agent-2\0client_encoding\0UTF8\0\0",
            ],
        );
        session.say(&out)?;
        session.log_in(login, salted, is_private)?;
        Ok(session)
    }

    fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.link.get_mut().write_all(bytes)?;
        self.link.get_mut().flush()
    }

    fn hear(&mut self) -> Result<(u8, Vec<u8>), Failure> {
        Ok(wire::message(&mut self.link, &mut self.left)?)
    }

    fn password(&mut self, kind: &[&[u8]]) -> Result<(), Failure> {
        let mut out = Vec::new();
        wire::write(&mut out, b'p', kind);
        Ok(self.say(&out)?)
    }

    fn log_in(
        &mut self,
        login: &Login,
        salted: &mut Salted,
        is_private: bool,
    ) -> Result<(), Failure> {
        let password = login.password;
        let mut exchange = Exchange::new(encode(&common::random::bytes::<18>()));
        // Begun, and proven to be the server's
        let mut scram = (false, false);
        for _ in 0..MOST_MESSAGES {
            let (kind, body) = self.hear()?;
            let mut body = Body(&body);
            match kind {
                b'R' => {
                    let what = body.int32();
                    if password.is_empty() && what.is_some_and(|what| what != 0) {
                        return other(
                            "it wants a password: set database_password or password_file",
                        );
                    }
                    match what {
                        Some(0) if scram.0 && !scram.1 => {
                            return other("it did not prove that it knows the password (SCRAM)");
                        }
                        Some(0) => {}
                        Some(3) if is_private => self.password(&[password.as_bytes(), b"\0"])?,
                        Some(3) => {
                            return other("it wants the password in clear text, which is sent only with TLS, by a Unix socket or within this machine: set \"tls\", or scram-sha-256 in its pg_hba.conf");
                        }
                        Some(5) => {
                            let salt = body.0;
                            let inner = hex(&md5(&[password.as_bytes(), login.user.as_bytes()]));
                            let outer = hex(&md5(&[inner.as_bytes(), salt]));
                            self.password(&[b"md5", outer.as_bytes(), b"\0"])?;
                        }
                        Some(10) => {
                            let mechanisms = body.rest();
                            let known = mechanisms.split('\0').any(|name| name == "SCRAM-SHA-256");
                            if !known || scram.0 {
                                return other(
                                    "it wants a way to log in that this agent does not know (SASL)",
                                );
                            }
                            scram.0 = true;
                            let first = exchange.first();
                            let length = (first.len() as u32).to_be_bytes();
                            self.password(&[b"SCRAM-SHA-256\0", &length, first.as_bytes()])?;
                        }
                        Some(11) if scram == (true, false) => {
                            let late = || login.deadline.left().is_err();
                            let proof =
                                exchange.proof(&body.rest(), password.as_bytes(), salted, &late);
                            let proof = proof.or_else(other)?;
                            self.password(&[proof.as_bytes()])?;
                        }
                        Some(12) => scram.1 = exchange.is_proven(&body.rest()),
                        Some(7..=9) => {
                            return other("it wants GSSAPI, which this agent does not speak: give the user a line with scram-sha-256 in its pg_hba.conf");
                        }
                        _ => {
                            return other("it wants a way to log in that this agent does not know")
                        }
                    }
                }
                b'S' => {
                    if body.text().as_deref() == Some("server_version") {
                        let version = body.text().unwrap_or_default();
                        let digits = version.split(|c: char| !c.is_ascii_digit()).next();
                        self.major = digits.and_then(|n| n.parse().ok()).unwrap_or(0);
                    }
                }
                b'E' => return Err(Failure::Told(Fault::of(body.0))),
                b'Z' => return Ok(()),
                // Its process, a notice, or options that it does not know
                b'K' | b'N' | b'v' => {}
                _ => return other("it does not speak the protocol of PostgreSQL"),
            }
        }
        other("it does not end its greeting")
    }

    /// Sends all statements at once; [`Session::result`] has then to be called for each.
    pub fn send(&mut self, statements: &[String]) -> Result<(), Failure> {
        let mut out = Vec::new();
        for statement in statements {
            wire::write(&mut out, b'Q', &[statement.as_bytes(), b"\0"]);
        }
        Ok(self.say(&out)?)
    }

    /// The result of the next statement, or the error that it met.
    ///
    /// # Errors
    /// There are no more results: the connection fails, or the server ends it.
    pub fn result(&mut self) -> Result<Result<Table, Fault>, Failure> {
        let mut table = Ok(Table::default());
        let malformed = || Failure::Other("a message of it is malformed".to_owned());
        loop {
            let (kind, body) = self.hear()?;
            match kind {
                b'T' => table = Ok(Table::of(&body).ok_or_else(malformed)?),
                b'D' => {
                    if let Ok(table) = &mut table {
                        table.take(&body).ok_or_else(malformed)?;
                    }
                }
                b'E' => {
                    let fault = Fault::of(&body);
                    // Operator intervention and the like: it closes the connection then
                    if fault.text.starts_with("FATAL") || fault.text.starts_with("PANIC") {
                        return Err(Failure::Told(fault));
                    }
                    table = Err(fault);
                }
                b'Z' => return Ok(table),
                b'C' | b'I' | b'N' | b'S' | b'A' => {}
                _ => return Err(malformed()),
            }
        }
    }

    /// Says good-bye: otherwise the server logs an unexpected end.
    pub fn close(mut self) {
        let _ = self.say(&[b'X', 0, 0, 0, 4]);
    }
}

/// Begins TLS if it is wanted.
fn secure(mut link: Link, login: &Login) -> Result<Link, Failure> {
    let wanted = login.security.wanted();
    if wanted == Wanted::No || matches!(login.address, Address::Unix(_)) {
        return Ok(link);
    }
    let mut out = Vec::new();
    wire::write(&mut out, 0, &[&SSL_REQUEST]);
    link.write_all(&out)?;
    // Not a byte more: what comes before the handshake is anybody's
    let mut answer = [0];
    link.read_exact(&mut answer)?;
    match &answer {
        b"S" => Ok(link.secure(login.security, login.host)?),
        b"N" if wanted == Wanted::IfOffered => Ok(link),
        b"N" => other(
            "it offers no TLS: set ssl = on in its postgresql.conf, or \"tls\" to \"off\" here",
        ),
        _ => other("it does not speak the protocol of PostgreSQL, or refuses TLS"),
    }
}

fn is_loopback(address: &Address) -> bool {
    match address {
        Address::Tcp(host, _) => {
            host == "localhost"
                || host
                    .parse()
                    .is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
        }
        Address::Unix(_) => true,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        for half in [byte >> 4, byte & 15] {
            text.extend(char::from_digit(u32::from(half), 16));
        }
        text
    })
}

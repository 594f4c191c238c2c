//! A MySQL server of which the tests decide every answer.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// The challenge of its greeting: bytes 1 to 20.
pub(super) const CHALLENGE: [u8; 20] = [
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20,
];
/// The proofs of the password `pw1` for it, computed with another implementation.
pub(super) const NATIVE_PROOF: &str = "87e3001f2563f83ec1f9cfdd6420b4a28676d841";
pub(super) const CACHING_PROOF: &str =
    "fea7be3eef169652629d99249003beae7fff581fe3751ce4387347be49f1117f";

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// An answer to a statement.
#[derive(Clone)]
pub(super) enum Reply {
    Rows(Vec<&'static str>, Vec<Vec<Option<String>>>),
    Error(u16, &'static str),
    /// These bytes, whatever they are, and then the end of the connection.
    Bytes(Vec<u8>),
    /// The first packets of the answer, and then the end of the connection.
    Half(Box<Reply>, usize),
    /// A row of this many bytes, again and again.
    Endless(usize),
    /// Nothing, until the client is gone.
    Silence,
    Close,
}

#[derive(Clone)]
pub(super) struct Script {
    pub(super) version: &'static str,
    /// The method that the greeting names.
    pub(super) method: &'static str,
    /// The method that the account has, if it is another one.
    pub(super) switch: Option<&'static str>,
    /// The server of `caching_sha2_password` does not remember the password.
    pub(super) forgetful: bool,
    pub(super) offers_tls: bool,
    /// Sent in place of the greeting.
    pub(super) greeting: Option<Vec<u8>>,
    /// In place of a login.
    pub(super) refusal: Option<(u16, &'static str)>,
    /// A connection ends before the answer to the statement of this number.
    pub(super) statements: usize,
    /// By the beginning of the statement; the first that fits. What fits none is a syntax error.
    pub(super) replies: Vec<(&'static str, Reply)>,
}

/// A packet with its header.
pub(super) fn packet(sequence: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_le_bytes()[..3].to_vec();
    bytes.push(sequence);
    bytes.extend_from_slice(payload);
    bytes
}

/// Bytes behind their length.
fn counted(bytes: &[u8]) -> Vec<u8> {
    let mut out = match bytes.len() {
        small @ ..=250 => vec![small as u8],
        n @ ..=0xFFFF => vec![0xFC, n as u8, (n >> 8) as u8],
        n => vec![0xFD, n as u8, (n >> 8) as u8, (n >> 16) as u8],
    };
    out.extend_from_slice(bytes);
    out
}

const END: [u8; 5] = [0xFE, 0, 0, 2, 0];

pub(super) fn error(code: u16, text: &str) -> Vec<u8> {
    let mut payload = vec![0xFF];
    payload.extend_from_slice(&code.to_le_bytes());
    payload.extend_from_slice(b"#42000");
    payload.extend_from_slice(text.as_bytes());
    payload
}

impl Reply {
    /// The packets of the answer, without headers.
    fn payloads(&self) -> Vec<Vec<u8>> {
        match self {
            Reply::Rows(names, rows) => {
                let mut packets = vec![vec![names.len() as u8]];
                for name in names {
                    let parts: [&[u8]; 6] = [b"def", b"", b"t", b"t", name.as_bytes(), b""];
                    let mut definition = parts.map(counted).concat();
                    definition.extend_from_slice(&[12, 45, 0, 0, 1, 0, 0, 253, 0, 0, 0, 0, 0]);
                    packets.push(definition);
                }
                packets.push(END.to_vec());
                for row in rows {
                    let cell = |cell: &Option<String>| match cell {
                        Some(text) => counted(text.as_bytes()),
                        None => vec![0xFB],
                    };
                    packets.push(row.iter().flat_map(cell).collect());
                }
                packets.push(END.to_vec());
                packets
            }
            Reply::Error(code, text) => vec![error(*code, text)],
            Reply::Half(whole, packets) => whole.payloads()[..*packets].to_vec(),
            _ => Vec::new(),
        }
    }

    /// Its bytes as an answer.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let numbered = self.payloads().into_iter().zip((0..=255).cycle().skip(1));
        let packets = numbered.map(|(payload, n)| packet(n, &payload));
        packets.flatten().collect()
    }
}

impl Script {
    /// A server of this version whose accounts have this method, and that has no replies yet.
    pub(super) fn new(version: &'static str, method: &'static str) -> Script {
        Script {
            version,
            method,
            switch: None,
            forgetful: false,
            offers_tls: false,
            greeting: None,
            refusal: None,
            statements: usize::MAX,
            replies: Vec::new(),
        }
    }

    /// Answers statements that begin so.
    pub(super) fn on(mut self, statement: &'static str, reply: Reply) -> Script {
        self.replies.retain(|(begin, _)| *begin != statement);
        self.replies.push((statement, reply));
        self
    }

    pub(super) fn greeting_bytes(&self) -> Vec<u8> {
        if let Some(bytes) = &self.greeting {
            return bytes.clone();
        }
        let mut payload = vec![10];
        payload.extend_from_slice(self.version.as_bytes());
        payload.extend_from_slice(&[0, 7, 0, 0, 0]);
        payload.extend_from_slice(&CHALLENGE[..8]);
        let can = 0xFFFF_F7FFu32 | if self.offers_tls { 1 << 11 } else { 0 };
        payload.push(0);
        payload.extend_from_slice(&can.to_le_bytes()[..2]);
        payload.extend_from_slice(&[255, 2, 0]);
        payload.extend_from_slice(&can.to_le_bytes()[2..]);
        payload.push(21);
        payload.extend_from_slice(&[0; 10]);
        payload.extend_from_slice(&CHALLENGE[8..]);
        payload.push(0);
        payload.extend_from_slice(self.method.as_bytes());
        payload.push(0);
        packet(0, &payload)
    }

    /// Serves a connection to its end. `None`: it ended.
    fn serve(&self, stream: &mut dyn Duplex, heard: &Mutex<Vec<String>>) -> Option<()> {
        stream.write_all(&self.greeting_bytes()).ok()?;
        let (_, response) = read_packet(stream)?;
        let user_end = 32 + response[32..].iter().position(|&b| b == 0)?;
        let length = usize::from(response[user_end + 1]);
        let mut proof = response[user_end + 2..user_end + 2 + length].to_vec();
        let mut sequence = 2;
        let mut method = self.method;
        if let Some(switch) = self.switch {
            let mut payload = vec![0xFE];
            payload.extend_from_slice(switch.as_bytes());
            payload.push(0);
            payload.extend_from_slice(&CHALLENGE);
            payload.push(0);
            stream.write_all(&packet(sequence, &payload)).ok()?;
            method = switch;
            (_, proof) = read_packet(stream)?;
            sequence += 2;
        }
        let mut right = match method {
            "caching_sha2_password" => hex(&proof) == CACHING_PROOF,
            "mysql_native_password" => hex(&proof) == NATIVE_PROOF,
            _ => proof == b"pw1\0",
        };
        if method == "caching_sha2_password" && right {
            let step = if self.forgetful { 4 } else { 3 };
            stream.write_all(&packet(sequence, &[1, step])).ok()?;
            sequence += 1;
            if self.forgetful {
                let (_, clear) = read_packet(stream)?;
                sequence += 1;
                right = clear == b"pw1\0";
            }
        }
        let refusal = match right {
            true => self.refusal,
            false => Some((
                1045,
                "Access denied for user 'u'@'localhost' (using password: YES)",
            )),
        };
        if let Some((code, text)) = refusal {
            return stream.write_all(&packet(sequence, &error(code, text))).ok();
        }
        let ok = packet(sequence, &[0, 0, 0, 2, 0, 0, 0]);
        stream.write_all(&ok).ok()?;
        for _ in 0..self.statements {
            let (_, command) = read_packet(stream)?;
            if command == [1] {
                // It takes leave
                return None;
            }
            let statement = String::from_utf8(command[1..].to_vec()).unwrap();
            let mut replies = self.replies.iter();
            let found = replies.find(|(begin, _)| statement.starts_with(begin));
            heard.lock().unwrap().push(statement.clone());
            let syntax = Reply::Error(1064, "You have an error in your SQL syntax");
            let reply = found.map_or(&syntax, |(_, reply)| reply);
            match reply {
                Reply::Bytes(bytes) => return stream.write_all(bytes).ok(),
                Reply::Silence => {
                    read_packet(stream)?;
                    return None;
                }
                Reply::Close => return None,
                Reply::Endless(bytes) => {
                    let head = Reply::Half(Box::new(Reply::Rows(vec!["a"], Vec::new())), 3);
                    stream.write_all(&head.bytes()).ok()?;
                    let row = counted(&vec![b'x'; *bytes]);
                    for n in (0..=255u8).cycle().skip(4) {
                        stream.write_all(&packet(n, &row)).ok()?;
                    }
                }
                reply => stream.write_all(&reply.bytes()).ok()?,
            }
            if matches!(reply, Reply::Half(..)) {
                return None;
            }
        }
        // The statement is read, so that the client does not see the end before it has asked
        read_packet(stream)?;
        None
    }
}

trait Duplex: Read + Write {}
impl<T: Read + Write> Duplex for T {}

fn read_packet(stream: &mut dyn Duplex) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).ok()?;
    let length = u32::from_le_bytes([head[0], head[1], head[2], 0]) as usize;
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).ok()?;
    Some((head[3], payload))
}

/// A server that runs; it serves one connection after the other until the process ends.
pub(super) struct Fake {
    /// `127.0.0.1:port`
    pub(super) address: String,
    heard: Arc<Mutex<Vec<String>>>,
    script: Arc<Mutex<Script>>,
}

impl Fake {
    pub(super) fn start(script: Script) -> Fake {
        Fake::start_on(TcpListener::bind("127.0.0.1:0").unwrap(), script)
    }

    pub(super) fn start_on(listener: TcpListener, script: Script) -> Fake {
        let fake = Fake {
            address: listener.local_addr().unwrap().to_string(),
            heard: Arc::default(),
            script: Arc::new(Mutex::new(script)),
        };
        let (heard, script) = (Arc::clone(&fake.heard), Arc::clone(&fake.script));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let script = script.lock().unwrap().clone();
                script.serve(&mut stream.unwrap(), &heard);
            }
        });
        fake
    }

    /// At a Unix socket.
    pub(super) fn start_at(path: &Path, script: Script) -> Fake {
        let listener = UnixListener::bind(path).unwrap();
        let fake = Fake {
            address: path.display().to_string(),
            heard: Arc::default(),
            script: Arc::new(Mutex::new(script)),
        };
        let (heard, script) = (Arc::clone(&fake.heard), Arc::clone(&fake.script));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let script = script.lock().unwrap().clone();
                script.serve(&mut stream.unwrap(), &heard);
            }
        });
        fake
    }

    /// Has connections from now on served in another way.
    pub(super) fn becomes(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.script.lock().unwrap());
    }

    /// The statements since the last call.
    pub(super) fn heard(&self) -> Vec<String> {
        std::mem::take(&mut self.heard.lock().unwrap())
    }
}

/// Rows of two columns.
pub(super) fn pairs(list: &[(&str, &str)]) -> Reply {
    let row = |(name, value): &(&str, &str)| vec![Some((*name).into()), Some((*value).into())];
    Reply::Rows(
        vec!["Variable_name", "Value"],
        list.iter().map(row).collect(),
    )
}

/// One row, of which the names are given too; `NULL` is null.
pub(super) fn row(list: &[(&'static str, &str)]) -> Reply {
    rows(&[list])
}

pub(super) fn rows(list: &[&[(&'static str, &str)]]) -> Reply {
    let cell = |text: &str| (text != "NULL").then(|| text.to_owned());
    Reply::Rows(
        list[0].iter().map(|(name, _)| *name).collect(),
        list.iter()
            .map(|row| row.iter().map(|(_, text)| cell(text)).collect())
            .collect(),
    )
}

/// A server with the answers that the tests have in common.
pub(super) fn server(version: &'static str, method: &'static str) -> Script {
    Script::new(version, method)
        .on(
            "SHOW /*!50000 GLOBAL */ VARIABLES",
            pairs(&[
                ("max_connections", "151"),
                ("open_files_limit", "10000"),
                ("version", "x"),
            ]),
        )
        .on(
            "SHOW /*!50000 GLOBAL */ STATUS",
            pairs(&[
                ("Aborted_clients", "1"),
                ("Aborted_connects", "2"),
                ("Com_select", "30"),
                ("Com_insert", "10"),
                ("Com_update", "0"),
                ("Com_delete", "0"),
                ("Com_replace", "0"),
                ("Com_commit", "7"),
                ("Com_show_status", "9"),
                ("Compression", "OFF"),
                ("Connections", "8"),
                ("Innodb_buffer_pool_reads", "5"),
                ("Max_used_connections", "3"),
                ("Questions", "50"),
                ("Slow_queries", "5"),
                ("Ssl_cipher", ""),
                ("Threads_created", "2"),
                ("Uptime", "12.5"),
            ]),
        )
        .on(
            "SHOW ENGINE INNODB STATUS",
            row(&[
                ("Type", "InnoDB"),
                ("Name", ""),
                (
                    "Status",
                    "x\nHistory list length 4\nRW-shared spins 1, rounds 2, OS waits 3\n",
                ),
            ]),
        )
        .on(
            "SHOW PROCESSLIST",
            rows(&[
                &process("Daemon"),
                &process("Query"),
                &process("Sleep"),
                &process("Sleep"),
                &process("Binlog Dump GTID"),
                &process("NULL"),
            ]),
        )
        .on(
            "SELECT CURRENT_USER()",
            row(&[("CURRENT_USER()", "o'neil@%")]),
        )
}

fn process(command: &str) -> [(&'static str, &str); 9] {
    [
        ("Id", "8"),
        ("User", "root"),
        ("Host", "localhost"),
        ("db", "NULL"),
        ("Command", command),
        ("Time", "0"),
        ("State", "x"),
        ("Info", "NULL"),
        ("Progress", "0.000"),
    ]
}

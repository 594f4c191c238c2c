//! SNMP's protocol data units and the messages of versions 1 and 2c around them.

use super::ber::{self, Bad, Reader};

/// Which kind of request or answer a PDU is.
pub const GET: u8 = 0xA0;
pub const GET_NEXT: u8 = 0xA1;
pub const RESPONSE: u8 = 0xA2;
pub const GET_BULK: u8 = 0xA5;
pub const REPORT: u8 = 0xA8;

/// Objects of one answer; a request of ours asks for fewer.
const MOST_VARS: usize = 1024;

pub type Oid = Vec<u32>;

/// A value that an agent gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Int(i64),
    UInt(u64),
    Octets(Vec<u8>),
    Oid(Oid),
    Ip([u8; 4]),
    Null,
    /// The agent does not have it (noSuchObject, noSuchInstance), or gave what is no value.
    Missing,
    /// endOfMibView: a walk has come to the end of all.
    End,
}

/// A protocol data unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pdu {
    pub kind: u8,
    pub request: i32,
    /// error-status; of a GETBULK non-repeaters.
    pub status: i64,
    /// error-index, from 1; of a GETBULK max-repetitions.
    pub index: i64,
    pub vars: Vec<(Oid, Value)>,
}

/// Appends a request for these objects. `repeat` is the max-repetitions of a GETBULK, else 0.
pub fn put_request(out: &mut Vec<u8>, kind: u8, request: i32, repeat: i64, oids: &[Oid]) {
    let (mut list, mut var) = (Vec::new(), Vec::new());
    for oid in oids {
        var.clear();
        ber::put_oid(&mut var, oid);
        ber::put(&mut var, ber::NULL, &[]);
        ber::put(&mut list, ber::SEQUENCE, &var);
    }
    let mut pdu = Vec::new();
    ber::put_int(&mut pdu, i64::from(request));
    ber::put_int(&mut pdu, 0);
    ber::put_int(&mut pdu, repeat);
    ber::put(&mut pdu, ber::SEQUENCE, &list);
    ber::put(out, kind, &pdu);
}

/// A whole message of version 1 (0) or 2c (1) around an encoded PDU.
pub fn with_community(version: u8, community: &[u8], pdu: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    ber::put_int(&mut body, i64::from(version));
    ber::put(&mut body, ber::OCTETS, community);
    body.extend_from_slice(pdu);
    let mut message = Vec::new();
    ber::put(&mut message, ber::SEQUENCE, &body);
    message
}

/// Reads a message of version 1 or 2c. The community is not compared: some agents answer with
/// another one.
pub fn read_with_community(version: u8, datagram: &[u8]) -> Result<Pdu, Bad> {
    let mut message = Reader::new(datagram).sequence()?;
    if message.int()? != i64::from(version) {
        return Err(Bad);
    }
    message.of(ber::OCTETS)?;
    read_pdu(&mut message)
}

/// Reads a PDU.
pub fn read_pdu(from: &mut Reader) -> Result<Pdu, Bad> {
    let (kind, content) = from.next()?;
    if kind != RESPONSE && kind != REPORT {
        return Err(Bad);
    }
    let mut pdu = Reader::new(content);
    let (request, status, index) = (pdu.int32()?, pdu.int()?, pdu.int()?);
    let mut list = pdu.sequence()?;
    let mut vars = Vec::new();
    while !list.is_empty() {
        if vars.len() == MOST_VARS {
            return Err(Bad);
        }
        let mut var = list.sequence()?;
        let oid = ber::oid(var.of(ber::OID)?)?;
        let (tag, content) = var.next()?;
        // One that can't be read costs itself only
        vars.push((oid, value(tag, content).unwrap_or(Value::Missing)));
    }
    Ok(Pdu {
        kind,
        request,
        status,
        index,
        vars,
    })
}

fn value(tag: u8, content: &[u8]) -> Result<Value, Bad> {
    Ok(match tag {
        ber::INTEGER => Value::Int(ber::signed(content)?),
        // BIT STRING of SMIv1 as well; Opaque and NsapAddress look like text
        0x03 | ber::OCTETS | 0x44 | 0x45 => Value::Octets(content.to_vec()),
        ber::NULL => Value::Null,
        ber::OID => Value::Oid(ber::oid(content)?),
        0x40 => Value::Ip(content.try_into().map_err(|_| Bad)?),
        // Counter32, Gauge32, TimeTicks, UInteger32. Some agents sign-extend them.
        0x41..=0x43 | 0x47 => Value::UInt(u64::from(ber::unsigned(content)? as u32)),
        0x46 => Value::UInt(ber::unsigned(content)?),
        0x80 | 0x81 => Value::Missing,
        0x82 => Value::End,
        _ => return Err(Bad),
    })
}

/// The name of an error-status, as the standards have it.
pub fn status_name(status: i64) -> &'static str {
    const NAMES: [&str; 19] = [
        "noError",
        "tooBig",
        "noSuchName",
        "badValue",
        "readOnly",
        "genErr",
        "noAccess",
        "wrongType",
        "wrongLength",
        "wrongEncoding",
        "wrongValue",
        "noCreation",
        "inconsistentValue",
        "resourceUnavailable",
        "commitFailed",
        "undoFailed",
        "authorizationError",
        "notWritable",
        "inconsistentName",
    ];
    let at = usize::try_from(status).unwrap_or(usize::MAX);
    NAMES.get(at).copied().unwrap_or("unknown error")
}

//! The requests to one agent in a sample, and their outcome.

use super::message::{self, Oid, Pdu, Value, GET, GET_BULK, GET_NEXT};
use crate::Error;

/// Objects of one request, so that most answers fit into one packet.
const BATCH: usize = 50;
/// Rows that one request of a walk asks for.
const REPEAT: i64 = 25;
/// Bytes of text that one agent may give in a sample.
const MOST_BYTES: usize = 1 << 20;

/// The objects that are asked for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Wanted {
    /// Single objects.
    pub objects: Vec<Oid>,
    /// Parts of the tree, all objects under them.
    pub trees: Vec<Oid>,
    /// Objects that one tree may give.
    pub most_rows: usize,
}

/// The outcome.
#[derive(Debug, Default)]
pub struct Sample {
    pub vars: Vec<(Oid, Value)>,
    /// Objects that the agent does not have.
    pub missing: Vec<Oid>,
    /// Objects that it has, but did not give, with the reason.
    pub refused: Vec<(Oid, &'static str)>,
    bytes: usize,
}

/// Sends a request: its kind, max-repetitions and objects.
pub type Ask<'a> = dyn FnMut(u8, i64, &[Oid]) -> Result<Pdu, Error> + 'a;

impl Sample {
    /// Asks for all that is wanted. `bulk`: the agent knows GETBULK, which version 1 does not.
    ///
    /// # Errors
    /// The agent does not answer (any more). What it gave before is kept.
    pub fn take(&mut self, wanted: &Wanted, bulk: bool, ask: &mut Ask) -> Result<(), Error> {
        self.objects(wanted.objects.clone(), ask)?;
        for tree in &wanted.trees {
            self.tree(tree, wanted.most_rows, bulk, ask)?;
        }
        Ok(())
    }

    /// Each answer takes at least one object off the list or makes the requests smaller.
    fn objects(&mut self, mut left: Vec<Oid>, ask: &mut Ask) -> Result<(), Error> {
        let mut size = BATCH;
        while !left.is_empty() {
            let count = left.len().min(size);
            let answer = ask(GET, 0, &left[..count])?;
            let blamed = usize::try_from(answer.index).unwrap_or(0);
            match answer.status {
                0 => {
                    let mut vars = answer.vars.into_iter();
                    for oid in left.drain(..count) {
                        match vars.next() {
                            None | Some((_, Value::Missing | Value::End)) => self.missing.push(oid),
                            Some(var) => self.keep(var)?,
                        }
                    }
                }
                1 if count > 1 => size = count / 2,
                2 if (1..=count).contains(&blamed) => self.missing.push(left.remove(blamed - 1)),
                status => {
                    let why = message::status_name(status);
                    if (1..=count).contains(&blamed) {
                        self.refused.push((left.remove(blamed - 1), why));
                    } else {
                        self.refused
                            .extend(left.drain(..count).map(|oid| (oid, why)));
                    }
                }
            }
        }
        Ok(())
    }

    fn tree(&mut self, tree: &Oid, most: usize, bulk: bool, ask: &mut Ask) -> Result<(), Error> {
        let kind = if bulk { GET_BULK } else { GET_NEXT };
        let mut repeat = if bulk { REPEAT } else { 0 };
        let mut at = tree.clone();
        let mut rows = 0;
        loop {
            let answer = ask(kind, repeat, std::slice::from_ref(&at))?;
            match answer.status {
                0 => {}
                // How version 1 says that there is nothing more
                2 => break,
                1 if repeat > 1 => {
                    repeat /= 2;
                    continue;
                }
                status => {
                    self.refused.push((at, message::status_name(status)));
                    return Ok(());
                }
            }
            let before = rows;
            let mut ended = false;
            for (oid, value) in answer.vars {
                ended = value == Value::End || !oid.starts_with(tree);
                if ended {
                    break;
                }
                if oid <= at {
                    self.refused.push((oid, "the agent's tree goes backwards"));
                    return Ok(());
                }
                if rows == most {
                    self.refused.push((oid, "more rows than max_rows"));
                    return Ok(());
                }
                at.clone_from(&oid);
                rows += 1;
                if value != Value::Missing {
                    self.keep((oid, value))?;
                }
            }
            if ended || rows == before {
                break;
            }
        }
        if rows == 0 {
            self.missing.push(tree.clone());
        }
        Ok(())
    }

    fn keep(&mut self, var: (Oid, Value)) -> Result<(), Error> {
        if let Value::Octets(bytes) = &var.1 {
            self.bytes += bytes.len();
            if self.bytes > MOST_BYTES {
                return Err(Error::new(
                    "the agent gives more than 1 MiB of text in one sample",
                ));
            }
        }
        self.vars.push(var);
        Ok(())
    }
}

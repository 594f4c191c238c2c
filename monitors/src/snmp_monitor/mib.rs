//! Reads MIB source files as far as names go: assignments of object identifiers, and what a module
//! imports. Of syntaxes only readable text and names of numbers count; all else is passed over.

use super::message::Oid;
use super::names::{Kind, Name, Names};
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// Bounds of what one configuration may have read.
const MOST_BYTES: u64 = 4 << 20;
const MOST_MODULES: usize = 100;
/// Names that lead from one to another, up to one that is known.
const DEEPEST: usize = 64;

/// One assignment.
#[derive(Debug, PartialEq)]
struct Assigned {
    name: String,
    /// The name that the numbers are under; empty if they begin at the root.
    parent: String,
    numbers: Vec<u32>,
    /// An object that has values: a scalar, or a column if its parent is one.
    object: bool,
    text: bool,
    labels: Vec<(i64, String)>,
}

/// The definitions of a file.
#[derive(Debug, Default, PartialEq)]
pub struct Module {
    assigned: Vec<Assigned>,
    imports: Vec<String>,
}

/// Adds the names of a module and of those that it imports. Files are looked for by the module's
/// name, alone or with `.txt`, `.mib` or `.my` behind it.
///
/// # Errors
/// Why the module can't be used. Imported modules without a file are passed over: a name that
/// needs them is then unknown.
pub fn load(names: &mut Names, folder: &Path, module: &str) -> Result<(), String> {
    let mut wanted = vec![module.to_owned()];
    let mut read: Vec<(String, Module)> = Vec::new();
    let (mut bytes, mut at) = (MOST_BYTES, 0);
    while at < wanted.len() {
        let name = wanted[at].clone();
        at += 1;
        if names.has_module(&name) {
            continue;
        }
        let text = match read_file(folder, &name, bytes) {
            Ok(text) => text,
            Err(why) if at == 1 => return Err(why),
            Err(_) => continue,
        };
        bytes = bytes.saturating_sub(text.len() as u64);
        let found = parse(&text);
        if wanted.len() + found.imports.len() > MOST_MODULES {
            return Err(format!(
                "{module} and what it imports are more than {MOST_MODULES} modules"
            ));
        }
        for import in &found.imports {
            if !wanted.contains(import) {
                wanted.push(import.clone());
            }
        }
        read.push((name, found));
    }
    names.add(resolved(names, &read));
    Ok(())
}

/// The names of these modules whose identifiers lead to a known one.
pub fn resolved(names: &Names, read: &[(String, Module)]) -> Vec<Name> {
    let mut made = Vec::new();
    for (place, (module, found)) in read.iter().enumerate() {
        for one in &found.assigned {
            let Some(oid) = resolve(names, read, place, one, DEEPEST) else {
                continue;
            };
            let in_row = one.numbers.len() == 1
                && lookup(&found.assigned, &one.parent).is_some_and(|parent| parent.object);
            made.push(Name {
                oid,
                module: module.clone(),
                name: one.name.clone(),
                kind: match (one.object, in_row) {
                    (true, true) => Kind::Column,
                    (true, false) => Kind::Scalar,
                    _ => Kind::Node,
                },
                text: one.text,
                labels: one.labels.clone(),
            });
        }
    }
    made
}

fn lookup<'a>(sorted: &'a [Assigned], name: &str) -> Option<&'a Assigned> {
    let at = sorted.binary_search_by(|one| one.name.as_str().cmp(name));
    at.ok().map(|at| &sorted[at])
}

/// The whole identifier of an assignment of the module at `place`.
fn resolve(
    names: &Names,
    modules: &[(String, Module)],
    place: usize,
    one: &Assigned,
    deepest: usize,
) -> Option<Oid> {
    let deepest = deepest.checked_sub(1)?;
    let mut oid = if one.parent.is_empty() {
        Oid::new()
    } else if let Some(parent) = lookup(&modules[place].1.assigned, &one.parent) {
        resolve(names, modules, place, parent, deepest)?
    } else if let Some(known) = names.any(&one.parent) {
        known.oid.clone()
    } else {
        // Whichever other module has it: two that have the same name are rare
        let all = modules.iter().enumerate();
        let mut found = all.filter_map(|(n, (_, m))| Some((n, lookup(&m.assigned, &one.parent)?)));
        let (place, parent) = found.next()?;
        resolve(names, modules, place, parent, deepest)?
    };
    oid.extend_from_slice(&one.numbers);
    (oid.len() <= super::ber::MOST_ARCS).then_some(oid)
}

fn read_file(folder: &Path, module: &str, most: u64) -> Result<String, String> {
    // A name is no path
    if module.is_empty()
        || !module
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    {
        return Err(format!("{module:?} is no module's name"));
    }
    for ending in ["", ".txt", ".mib", ".my"] {
        let path = folder.join(format!("{module}{ending}"));
        // A pipe would wait for a writer
        if !path.is_file() {
            continue;
        }
        let mut text = Vec::new();
        let read = File::open(&path).and_then(|file| file.take(most + 1).read_to_end(&mut text));
        return match read {
            Ok(bytes) if bytes as u64 <= most => Ok(String::from_utf8_lossy(&text).into_owned()),
            Ok(_) => Err(format!("{} is larger than 4 MiB", path.display())),
            Err(error) => Err(format!("{} can't be read: {error}", path.display())),
        };
    }
    Err(format!(
        "mib_path has no file {module}, {module}.txt, {module}.mib or {module}.my"
    ))
}

pub fn parse(text: &str) -> Module {
    let mut module = Module::default();
    let mut tokens = Tokens { left: text };
    // The name before the last keyword that can begin an assignment, and what is told of it
    let mut begun: Option<Assigned> = None;
    let mut last = "";
    let (mut depth, mut importing) = (0_usize, false);
    let mut before = "";
    while let Some(token) = tokens.next() {
        // `name OBJECT IDENTIFIER` has a word more than the others
        let name = if token == "IDENTIFIER" { before } else { last };
        match token {
            "IMPORTS" => importing = true,
            ";" => importing = false,
            _ if importing && last == "FROM" => module.imports.push(token.to_owned()),
            _ if importing => {}
            "{" => {
                depth += 1;
                if (before, last, depth) == ("SYNTAX", "INTEGER", 1) {
                    // Up to the brace that closes them
                    let (text, rest) = tokens.left.split_at(tokens.left.find('}').unwrap_or(0));
                    tokens.left = rest;
                    if let Some(begun) = &mut begun {
                        begun.labels = labels(text);
                    }
                }
            }
            "}" => depth = depth.saturating_sub(1),
            _ if depth > 0 => {}
            "OBJECT-TYPE" | "MODULE-IDENTITY" | "OBJECT-IDENTITY" | "NOTIFICATION-TYPE"
            | "OBJECT-GROUP" | "NOTIFICATION-GROUP" | "MODULE-COMPLIANCE"
            | "AGENT-CAPABILITIES" | "IDENTIFIER"
                if is_name(name) =>
            {
                begun = Some(Assigned {
                    name: name.to_owned(),
                    parent: String::new(),
                    numbers: Vec::new(),
                    object: token == "OBJECT-TYPE",
                    text: false,
                    labels: Vec::new(),
                });
            }
            "DisplayString" | "SnmpAdminString" if last == "SYNTAX" => {
                if let Some(begun) = &mut begun {
                    begun.text = true;
                }
            }
            "::=" => {
                if let Some(mut begun) = begun.take() {
                    if tokens.next() == Some("{") && begun.read_value(&mut tokens) {
                        module.assigned.push(begun);
                    }
                }
            }
            _ => {}
        }
        (before, last) = (last, token);
    }
    let assigned = &mut module.assigned;
    common::sort::by(assigned, |a, b| a.name.cmp(&b.name));
    module
}

/// Names of numbers: `up(1), down(2)`.
pub fn labels(text: &str) -> Vec<(i64, String)> {
    let (mut labels, mut name) = (Vec::new(), "");
    let mut tokens = Tokens { left: text };
    while let Some(token) = tokens.next() {
        match token.parse() {
            Ok(number) => labels.push((number, name.to_owned())),
            Err(_) if is_name(token) => name = token,
            Err(_) => {}
        }
    }
    labels
}

/// Values begin with a small letter, types and keywords with a capital one.
fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_ascii_lowercase())
}

impl Assigned {
    /// The value up to its closing brace: `{ parent 1 }`, `{ iso org(3) 6 }`. False if it is none.
    fn read_value(&mut self, tokens: &mut Tokens) -> bool {
        let mut tokens_read = 0;
        while let Some(token) = tokens.next() {
            match (token, token.parse()) {
                ("}", _) => return tokens_read > 0,
                // `iso(1)` tells the whole way
                ("(", _) if tokens_read == 1 => self.parent.clear(),
                ("(" | ")", _) => {}
                (_, Ok(number)) if self.numbers.len() < super::ber::MOST_ARCS => {
                    self.numbers.push(number);
                }
                (_, Err(_)) if tokens_read == 0 => token.clone_into(&mut self.parent),
                (_, Err(_)) if is_name(token) => {}
                _ => return false,
            }
            tokens_read += 1;
        }
        false
    }
}

/// Words, numbers and signs, without comments and texts.
struct Tokens<'a> {
    left: &'a str,
}

impl<'a> Tokens<'a> {
    fn next(&mut self) -> Option<&'a str> {
        loop {
            let text = self.left.trim_start();
            let first = text.chars().next()?;
            if let Some(comment) = text.strip_prefix("--") {
                // It ends with the line; the other end that ASN.1 knows is within dashes only
                self.left = comment.find('\n').map_or("", |end| &comment[end..]);
                continue;
            }
            if let Some(quoted) = text.strip_prefix('"') {
                self.left = quoted.find('"').map_or("", |end| &quoted[end + 1..]);
                return Some("\"\"");
            }
            let is_word = |c: char| c.is_alphanumeric() || c == '-' || c == '_' || c == '.';
            let mut length = text.find(|c| !is_word(c)).unwrap_or(text.len());
            if let Some(dashes) = text[..length].find("--") {
                length = dashes;
            }
            if length == 0 {
                length = if text.starts_with("::=") {
                    3
                } else {
                    first.len_utf8()
                };
            }
            let (token, rest) = text.split_at(length);
            self.left = rest;
            return Some(token);
        }
    }
}

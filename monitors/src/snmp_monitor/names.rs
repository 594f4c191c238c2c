//! Names of object identifiers, and how identifiers and values are printed.

use super::message::{Oid, Value};
use std::fmt::Write as _;

/// The modules that need no file, made from those that the Python agent's SNMP library brings. A
/// line with a module's name tells an identifier, and those below have its number under it, name and kind:
/// `s` a scalar, `t` one of readable text, `c` and `d` the same for columns. The names of its numbers may follow.
const BUILT_IN: &str = include_str!("names.txt");

/// How instances of an object are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It has none.
    Node,
    /// One, which is 0.
    Scalar,
    /// One for each row.
    Column,
}

/// A named identifier.
#[derive(Debug)]
pub struct Name {
    pub oid: Oid,
    pub module: String,
    pub name: String,
    pub kind: Kind,
    /// Its values are text for people, line breaks included.
    pub text: bool,
    /// Names of its numbers.
    pub labels: Vec<(i64, String)>,
}

/// All names, sorted by identifier.
#[derive(Debug)]
pub struct Names(Vec<Name>);

impl Names {
    /// Those that need no file.
    pub fn built_in() -> Names {
        let mut names = Vec::new();
        let (mut module, mut under) = ("", Vec::new());
        for line in BUILT_IN.lines() {
            let mut words = line.split(' ');
            let first = words.next().unwrap_or_default();
            if let Ok(number) = first.parse() {
                let name = words.next().unwrap_or_default().to_owned();
                let kind = words.next().unwrap_or_default();
                let mut oid: Oid = under.clone();
                oid.push(number);
                names.push(Name {
                    oid,
                    module: module.to_owned(),
                    name,
                    kind: match kind {
                        "s" | "t" => Kind::Scalar,
                        "c" | "d" => Kind::Column,
                        _ => Kind::Node,
                    },
                    text: matches!(kind, "t" | "d"),
                    labels: words.next().map(super::mib::labels).unwrap_or_default(),
                });
            } else {
                module = first;
                under = dotted(words.next().unwrap_or_default()).unwrap_or_default();
            }
        }
        let mut all = Names(Vec::new());
        all.add(names);
        all
    }

    /// Adds the names of further modules. Where two have a name for one identifier, the older stays.
    pub fn add(&mut self, names: Vec<Name>) {
        self.0.extend(names);
        // Stable
        common::sort::by(&mut self.0, |a, b| a.oid.cmp(&b.oid));
        self.0.dedup_by(|later, first| {
            later.oid == first.oid && later.module == first.module && later.name == first.name
        });
    }

    /// The name of a module.
    pub fn find(&self, module: &str, name: &str) -> Option<&Name> {
        self.0
            .iter()
            .find(|known| known.module == module && known.name == name)
    }

    /// The same without a module: for what MIB files import from modules that have no file.
    pub fn any(&self, name: &str) -> Option<&Name> {
        self.0.iter().find(|known| known.name == name)
    }

    pub fn has_module(&self, module: &str) -> bool {
        self.0.iter().any(|known| known.module == module)
    }

    /// The longest known beginning.
    fn nearest(&self, oid: &[u32]) -> Option<&Name> {
        (1..=oid.len()).rev().find_map(|length| {
            let prefix = &oid[..length];
            let at = self.0.partition_point(|known| known.oid[..] < *prefix);
            self.0.get(at).filter(|known| known.oid == prefix)
        })
    }

    /// `MODULE::name` and the numbers behind it.
    pub fn print(&self, oid: &[u32]) -> String {
        let (mut out, rest) = match self.nearest(oid) {
            Some(known) => (
                format!("{}::{}", known.module, known.name),
                &oid[known.oid.len()..],
            ),
            None => (String::new(), oid),
        };
        for arc in rest {
            if !out.is_empty() {
                out.push('.');
            }
            // Writing into a String can't fail
            let _ = write!(out, "{arc}");
        }
        out
    }

    /// A value as the Python agent prints it.
    pub fn print_value(&self, oid: &[u32], value: &Value) -> String {
        match value {
            Value::Int(number) => {
                let labels = self.nearest(oid).map_or(&[][..], |known| &known.labels);
                match labels.iter().find(|(labelled, _)| labelled == number) {
                    Some((_, label)) => label.clone(),
                    None => number.to_string(),
                }
            }
            Value::UInt(number) => number.to_string(),
            Value::Oid(oid) => self.print(oid),
            Value::Ip([a, b, c, d]) => format!("{a}.{b}.{c}.{d}"),
            Value::Null | Value::Missing | Value::End => String::new(),
            Value::Octets(bytes) => {
                let is_text = |bytes: &[u8]| bytes.iter().all(|b| (0x20..=0x7E).contains(b));
                let text = std::str::from_utf8(bytes).ok();
                match text {
                    Some(text) if is_text(bytes) || self.nearest(oid).is_some_and(|n| n.text) => {
                        text.to_owned()
                    }
                    _ => {
                        let mut out = "0x".to_owned();
                        for byte in bytes {
                            let _ = write!(out, "{byte:02x}");
                        }
                        out
                    }
                }
            }
        }
    }

    /// The identifier that the configuration means, with its instance: dotted numbers or
    /// `MODULE::name`, an instance behind it, and `.*` at the end for a whole part of the tree.
    ///
    /// # Errors
    /// Why it means none.
    pub fn read(&self, text: &str) -> Result<(Oid, bool), String> {
        let (text, tree) = match text.strip_suffix(".*") {
            Some(text) => (text, true),
            None => (text, false),
        };
        let Some((module, rest)) = text.split_once("::") else {
            let oid = dotted(text.strip_prefix('.').unwrap_or(text))
                .filter(|oid| oid.len() >= 2 && oid[0] <= 2)
                .ok_or(
                    "it is neither dotted numbers, such as 1.3.6.1.2.1.1.3.0, nor MODULE::name",
                )?;
            return Ok((oid, tree));
        };
        let (name, instance) = match rest.split_once('.') {
            Some((name, instance)) => (name, Some(instance)),
            None => (rest, None),
        };
        let known = self.find(module, name).ok_or_else(|| {
            if self.has_module(module) {
                format!("the module {module} has no {name}")
            } else {
                format!("the module {module} is not known: its file has to be in mib_path")
            }
        })?;
        let mut oid = known.oid.clone();
        match (instance, known.kind) {
            (Some(instance), _) => {
                let numbers = dotted(instance).ok_or("the instance is no dotted number")?;
                oid.extend(numbers);
            }
            (None, _) if tree => {}
            (None, Kind::Scalar) => oid.push(0),
            (None, Kind::Column) => oid.push(1),
            (None, Kind::Node) => {}
        }
        Ok((oid, tree))
    }
}

/// Numbers with dots between them.
fn dotted(text: &str) -> Option<Oid> {
    if text.is_empty() {
        return None;
    }
    let oid = text.split('.').map(|n| n.parse().ok());
    oid.take(super::ber::MOST_ARCS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_printed_as_the_python_agent_prints_them() {
        let names = Names::built_in();
        for (oid, printed) in [
            ("1.3.6.1.2.1.1.1.0", "SNMPv2-MIB::sysDescr.0"),
            ("1.3.6.1.2.1.1.7.0", "SNMPv2-MIB::sysServices.0"),
            ("1.3.6.1.2.1.1.9.1.2.1", "SNMPv2-MIB::sysORID.1"),
            ("1.3.6.1.2.1.1.99.0", "SNMPv2-MIB::system.99.0"),
            ("1.3.6.1.2.1.11.1.0", "SNMPv2-MIB::snmpInPkts.0"),
            ("1.3.6.1.2.1.2.2.1.6.1", "SNMPv2-SMI::mib-2.2.2.1.6.1"),
            (
                "1.3.6.1.4.1.8072.3.2.10",
                "SNMPv2-SMI::enterprises.8072.3.2.10",
            ),
            (
                "1.3.6.1.6.3.10.2.1.1.0",
                "SNMP-FRAMEWORK-MIB::snmpEngineID.0",
            ),
            (
                "1.3.6.1.6.3.10.3.1.1",
                "SNMP-FRAMEWORK-MIB::snmpFrameworkMIBCompliance",
            ),
            (
                "1.3.6.1.6.3.15.1.1.1.0",
                "SNMP-USER-BASED-SM-MIB::usmStatsUnsupportedSecLevels.0",
            ),
            ("1.0.8802.1.1.2.1", "SNMPv2-SMI::iso.0.8802.1.1.2.1"),
            ("0.0", "SNMPv2-SMI::zeroDotZero"),
        ] {
            assert_eq!(names.print(&dotted(oid).unwrap()), printed);
        }
        assert_eq!(names.print(&[9, 8]), "9.8");
    }

    #[test]
    fn values_are_printed_as_the_python_agent_prints_them() {
        let names = Names::built_in();
        let descr = [1, 3, 6, 1, 2, 1, 1, 1, 0];
        let other = [1, 3, 6, 1, 2, 1, 2, 2, 1, 2, 1];
        let enabled = [1, 3, 6, 1, 2, 1, 11, 30, 0];
        let octets = |text: &str| Value::Octets(text.as_bytes().to_vec());
        for (oid, value, printed) in [
            (&other[..], Value::Int(-5), "-5"),
            (&enabled, Value::Int(2), "disabled"),
            (&enabled, Value::Int(3), "3"),
            (&other, Value::UInt(u64::MAX), "18446744073709551615"),
            (&other, Value::Ip([127, 0, 0, 1]), "127.0.0.1"),
            (&other, octets(""), ""),
            (&other, octets("1.44"), "1.44"),
            (&other, octets("a\nb"), "0x610a62"),
            (&other, octets("\u{e9}"), "0xc3a9"),
            (&other, octets("\u{7f}"), "0x7f"),
            (&descr, octets("a\r\nb"), "a\r\nb"),
            (&descr, Value::Octets(vec![0xFF]), "0xff"),
            (
                &other,
                Value::Oid(vec![1, 3, 6, 1, 4, 1, 9]),
                "SNMPv2-SMI::enterprises.9",
            ),
        ] {
            assert_eq!(names.print_value(oid, &value), printed);
        }
    }

    #[test]
    fn a_scalar_has_instance_0_and_another_can_be_given() {
        let names = Names::built_in();
        let read = |text| {
            names
                .read(text)
                .map(|(oid, tree)| (names.print(&oid), tree))
        };
        let ok = |text: &str, tree| Ok((text.to_owned(), tree));
        assert_eq!(
            read("SNMPv2-MIB::sysName"),
            ok("SNMPv2-MIB::sysName.0", false)
        );
        assert_eq!(
            read("SNMPv2-MIB::sysName.0"),
            ok("SNMPv2-MIB::sysName.0", false)
        );
        assert_eq!(
            read("SNMPv2-MIB::sysORID"),
            ok("SNMPv2-MIB::sysORID.1", false)
        );
        assert_eq!(
            read("SNMPv2-MIB::sysORID.7"),
            ok("SNMPv2-MIB::sysORID.7", false)
        );
        assert_eq!(
            read("SNMPv2-MIB::sysORID.*"),
            ok("SNMPv2-MIB::sysORID", true)
        );
        assert_eq!(
            read(".1.3.6.1.2.1.1.5.0"),
            ok("SNMPv2-MIB::sysName.0", false)
        );
        assert_eq!(read("1.3.6.1.2.1.1.*"), ok("SNMPv2-MIB::system", true));
        for wrong in [
            "",
            "sysName",
            "1.3.x",
            "1",
            "3.1.1",
            "1.3.6.1.4294967296",
            "SNMPv2-MIB::sysNam",
            "SNMPv2-MIB::sysName.x",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        let error = read("IF-MIB::ifDescr").unwrap_err();
        assert!(error.contains("mib_path"), "{error}");
    }
}

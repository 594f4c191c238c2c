//! Changing one value in the text of a configuration file.

use crate::config::json::{self, Json, Node, Pos};
use common::escape::json_str;

/// The value at the end of this way of keys.
pub(super) fn find<'a>(root: &'a Node, way: &[&str]) -> Option<&'a Node> {
    way.iter().try_fold(root, |node, key| match &node.value {
        Json::Object(members) => members
            .iter()
            .find(|member| member.key == *key)
            .map(|member| &member.value),
        _ => None,
    })
}

/// The text with another string as the value that is at the end of `way`. A member that is not
/// there is put in, with the objects that lead to it. `None` if something else is in the way.
pub(super) fn set(text: &str, way: &[&str], value: &str) -> Option<String> {
    let root = json::parse(text).ok()?;
    if let Some(node) = find(&root, way) {
        let span = json::span(text, node.at)?;
        return Some(splice(text, span, &quoted(value)));
    }
    // As far as there are objects.
    let (there, node) = (0..way.len())
        .rev()
        .find_map(|depth| Some((depth, find(&root, &way[..depth])?)))?;
    let Json::Object(_) = node.value else {
        return None;
    };
    let (key, deeper) = way[there..].split_first()?;
    let mut member = quoted(value);
    for outer in deeper.iter().rev() {
        member = format!("{{{}: {member}}}", quoted(outer));
    }
    insert(text, node.at, &format!("{}: {member}", quoted(key)))
}

/// Puts a member first in an object, on a line of its own.
fn insert(text: &str, object: Pos, member: &str) -> Option<String> {
    let start = json::span(text, object)?.start;
    let line = &text[text[..start].rfind('\n').map_or(0, |at| at + 1)..start];
    let indent: String = line
        .chars()
        .take_while(|c| matches!(c, ' ' | '\t'))
        .collect();
    let after = start + 1;
    // A line break or a comma has to follow; the comma may also be the last thing in the object.
    let new = format!("\n{indent}  {member},");
    Some(splice(text, after..after, &new))
}

fn splice(text: &str, span: std::ops::Range<usize>, new: &str) -> String {
    format!("{}{new}{}", &text[..span.start], &text[span.end..])
}

/// A string in double quotes.
pub(super) fn quoted(text: &str) -> String {
    let mut out = Vec::new();
    json_str(&mut out, text);
    // The escapes are ASCII, so text stays text.
    String::from_utf8(out).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(text: &str) -> Json {
        json::parse(text).unwrap().value
    }

    #[test]
    fn nothing_but_the_value_changes_however_it_is_written() {
        for (old, new) in [
            ("{api_key:\"a\"}", "{api_key:\"N\"}"),
            (
                "{\"api_key\" : \"a\" // b\n}",
                "{\"api_key\" : \"N\" // b\n}",
            ),
            (
                "\u{FEFF}// ü\r\n{ /* x */ api_key: \"a\" + /* c */\r\n \"b\", z: [1]\r\n}\r\n",
                "\u{FEFF}// ü\r\n{ /* x */ api_key: \"N\", z: [1]\r\n}\r\n",
            ),
            (
                "{api_key: \"\"\"a \"x\"\n\"\"\"\n  z: 1}",
                "{api_key: \"N\"\n  z: 1}",
            ),
            (
                "{api_key: \"first\", \"api_key\": \"a\\\"\\u0041\"}",
                "{api_key: \"first\", \"api_key\": \"N\"}",
            ),
        ] {
            assert_eq!(set(old, &["api_key"], "N").as_deref(), Some(new), "{old}");
        }
    }

    #[test]
    fn what_is_not_there_is_put_in() {
        let way = &["server_attributes", "serverHost"];
        for (old, new) in [
            (
                "{}",
                "{\n  \"server_attributes\": {\"serverHost\": \"h\"},}",
            ),
            (
                "  { // why\n    a: 1 }",
                "  {\n    \"server_attributes\": {\"serverHost\": \"h\"}, // why\n    a: 1 }",
            ),
            (
                "{\n  server_attributes: {\n    // tier\n    tier: \"x\" }\n}",
                "{\n  server_attributes: {\n    \"serverHost\": \"h\",\n    // tier\n    tier: \
                 \"x\" }\n}",
            ),
        ] {
            let text = set(old, way, "h").unwrap();
            assert_eq!(text, new);
            let root = json::parse(&text).unwrap();
            assert_eq!(
                find(&root, way).map(|node| &node.value),
                Some(&Json::Text("h".to_owned()))
            );
        }
        assert_eq!(set("{server_attributes: 5}", way, "h"), None);
        assert_eq!(set("[]", way, "h"), None);
        assert_eq!(set("{", way, "h"), None);
    }

    #[test]
    fn a_value_with_quotes_and_line_breaks_stays_one_value() {
        let value = "a\"b\\c\nd\u{1}é";
        let text = set("{x: \"y\"}", &["x"], value).unwrap();
        let Json::Object(members) = same(&text) else {
            panic!("{text}")
        };
        assert_eq!(members[0].value.value, Json::Text(value.to_owned()));
    }
}

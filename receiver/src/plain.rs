//! Foreign text and large numbers, as a terminal may show them.

/// On one line, without control characters, which a terminal would obey, and of at most `most`
/// characters; an ellipsis more where something was left out.
pub fn printable(text: &str, most: usize) -> String {
    let text = text.trim_end_matches(['\r', '\n']);
    let mut out = String::new();
    for (i, c) in text.chars().enumerate() {
        if i == most {
            out.push('…');
            break;
        }
        out.push(match c {
            '\t' => ' ',
            c if c.is_control() => '·',
            c => c,
        });
    }
    out
}

/// With a comma before each three digits.
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A number of bytes in a unit that leaves few digits; decimal units.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..=9_999 => format!("{bytes} B"),
        10_000..=9_999_999 => format!("{:.1} kB", bytes as f64 / 1e3),
        10_000_000..=9_999_999_999 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_line_cannot_steer_the_terminal_nor_break_its_line() {
        assert_eq!(printable("a\x1b[2Jb\tc\u{9b}\r\n", 110), "a·[2Jb c·");
        assert_eq!(printable(&"x".repeat(200), 110).chars().count(), 111);
        assert_eq!(printable("grün", 4), "grün");
    }

    #[test]
    fn numbers_are_readable() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(size(12_345_678), "12.3 MB");
    }
}

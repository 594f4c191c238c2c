//! Compressed files that a pattern matches, or that take the place of text.

use super::*;

fn gzip(text: impl AsRef<[u8]>) -> Vec<u8> {
    let mut out = vec![0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 3];
    out.extend(miniz_oxide::deflate::compress_to_vec(text.as_ref(), 6));
    out.extend([0; 8]);
    out
}

/// Archives of each kind, as far as their first bytes go.
fn archives() -> Vec<(&'static str, Vec<u8>)> {
    let with_rest = |head: &[u8]| [head, &b"\x93\n\x00line\nline\n".repeat(100)].concat();
    vec![
        ("gz", gzip("unknown\n")),
        ("bz2", with_rest(b"BZh91AY&SY")),
        ("xz", with_rest(b"\xFD7zXZ\0\0\x04")),
        ("zst", with_rest(b"\x28\xB5\x2F\xFD\x24")),
        ("Z", with_rest(b"\x1F\x9D\x90")),
        ("lz4", with_rest(b"\x04\x22\x4D\x18\x64")),
        ("zip", with_rest(b"PK\x03\x04\x14\0")),
    ]
}

/// The error that the status report shows for a path.
fn said(desk: &Desk, name: &str) -> Option<String> {
    let status = desk.tailer.as_ref().unwrap().status();
    let path = desk.path(name);
    let logs = status.logs.into_iter().map(|log| (log.path, log.error));
    let mut all = logs.chain(
        status
            .unreadable
            .into_iter()
            .map(|told| (told.path, Some(told.why))),
    );
    all.find(|(p, _)| *p == path).and_then(|(_, why)| why)
}

#[test]
fn archives_that_a_pattern_matches_are_named_and_not_sent_as_text() {
    for at_start in [true, false] {
        let mut desk = Desk::new(&["app.log*"]);
        let put = |desk: &Desk| {
            for (kind, bytes) in archives() {
                fs::write(desk.path(&format!("app.log.2.{kind}")), bytes).unwrap();
            }
            fs::write(desk.path("app.log.3"), gzip("under a plain name\n")).unwrap();
            fs::write(desk.path("app.log.text.gz"), "text\n").unwrap();
        };
        desk.append("app.log", "1\n");
        if at_start {
            put(&desk);
        }
        desk.start();
        desk.run(2);
        if !at_start {
            put(&desk);
        }
        desk.run(70);
        assert_eq!(desk.names(), ["app.log", "app.log.text.gz"]);
        assert_eq!(desk.all("app.log"), "1\n");
        for (kind, _) in archives() {
            let said = said(&desk, &format!("app.log.2.{kind}")).unwrap();
            assert!(said.contains("compressed"), "{said}");
        }
        assert!(said(&desk, "app.log.3").unwrap().contains("gzip"));
        assert_eq!(said(&desk, "app.log.text.gz"), None);
        // and neither after a restart
        desk.stop();
        desk.start();
        desk.run(70);
        assert_eq!(desk.names(), ["app.log", "app.log.text.gz"]);
    }
}

#[test]
fn an_archive_that_is_still_being_written_is_not_sent() {
    for from_start in [true, false] {
        let mut desk = Desk::with(&["a*"], from_start, |_| {});
        let archive = gzip((0..9_999).map(|n| format!("{n}\n")).collect::<String>());
        // seen at all lengths: empty, shorter than what tells it, longer
        desk.append("a", "");
        desk.append("a.1", &archive[..2]);
        desk.append("a.2", &archive[..500]);
        desk.start();
        desk.run(20);
        desk.append("a", &archive[..1]);
        desk.run(20);
        desk.append("a", &archive[1..]);
        desk.append("a.1", &archive[2..]);
        desk.append("a.2", &archive[500..]);
        desk.run(20);
        assert_eq!(desk.names(), [""; 0]);
        assert!(said(&desk, "a").unwrap().contains("compressed"));
        // Nothing of it counts as waiting to be sent
        assert_eq!(desk.pending("a"), 0);
    }
}

#[test]
fn an_archive_that_takes_the_place_of_text_is_not_sent_and_text_after_it_is() {
    for renamed in [true, false] {
        let mut desk = Desk::copied("1\n2\n");
        let archive = gzip("something\n".repeat(1000));
        if renamed {
            fs::write(desk.path("new"), archive).unwrap();
            desk.rename("new", "a.log");
        } else {
            fs::write(desk.path("a.log"), archive).unwrap();
        }
        desk.run(10);
        assert_eq!(desk.all("a.log"), "1\n2\n");
        assert!(said(&desk, "a.log").unwrap().contains("compressed"));
        fs::remove_file(desk.path("a.log")).unwrap();
        desk.append("a.log", "3\n");
        desk.run(10);
        assert_eq!(desk.all("a.log"), "1\n2\n3\n");
        assert_eq!(said(&desk, "a.log"), None);
    }
}

#[test]
fn a_file_that_is_named_and_compressed_is_not_sent_as_text() {
    let mut desk = Desk::new(&["a.log.gz"]);
    fs::write(desk.path("a.log.gz"), gzip("1\n")).unwrap();
    desk.start();
    desk.run(10);
    assert_eq!(desk.names(), [""; 0]);
    assert!(said(&desk, "a.log.gz").unwrap().contains("gzip"));
}

#[test]
fn logrotate_with_compress_under_a_wildcard_sends_each_line_once() {
    for stopped in [false, true] {
        let mut desk = Desk::new(&["a.log*"]);
        let mut all = String::new();
        desk.append("a.log", "0\n");
        desk.start();
        desk.run(2);
        all += "0\n";
        for round in 1..6 {
            if stopped {
                desk.stop();
            }
            // not read before it is compressed
            let line = format!("{round} before\n");
            desk.append("a.log", &line);
            for n in (1..round).rev() {
                desk.rename(&format!("a.log.{n}.gz"), &format!("a.log.{}.gz", n + 1));
            }
            desk.rename("a.log", "a.log.1");
            desk.gzip("a.log.1");
            desk.append("a.log", format!("{round} after\n"));
            all += &format!("{line}{round} after\n");
            if stopped {
                desk.start();
            }
            desk.run(70);
        }
        assert_eq!(desk.names(), ["a.log"], "stopped: {stopped}");
        assert_eq!(desk.all("a.log"), all);
        assert_eq!(desk.arrived.resent, 0);
    }
}

//! Odd content and odd neighbours of logs: bytes arrive as they are, and anything but a regular
//! file is left alone.

mod common;

use common::{Numbers, Site};
use nix::sys::stat::Mode;
use std::fs::{self, Permissions};
use std::io::Read;
use std::net::TcpListener;
use std::os::unix::fs::{symlink, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

/// The messages of a log, one after the other, as they arrived.
fn arrived(site: &Site, name: &str) -> Vec<u8> {
    let path = site.log_path(name);
    site.receiver.with(|state| {
        let of_path = state
            .events()
            .filter(|event| *event.path == *path.to_str().unwrap());
        of_path.flat_map(|event| event.message.to_vec()).collect()
    })
}

/// Writes a log, and expects its bytes.
#[track_caller]
fn comes_as_it_is(site: &mut Site, name: &str, content: &[u8]) {
    site.append(name, content);
    let path = site.log_path(name).to_str().unwrap().to_owned();
    let wanted = content.len() as u64;
    site.until(&format!("{wanted} bytes of {name}"), |state| {
        let log = state.counts().logs.get(path.as_str());
        log.map_or(0, |log| log.message_bytes) >= wanted
    });
    let got = arrived(site, name);
    if got != content {
        let at = got.iter().zip(content).take_while(|(a, b)| a == b).count();
        panic!(
            "{name} is not what was written from byte {at} of {wanted}: {}",
            site.report()
        );
    }
    site.assert_well_formed();
}

fn random(bytes: usize, mut seed: u64) -> Vec<u8> {
    let next = std::iter::repeat_with(|| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed >> 24) as u8
    });
    next.take(bytes).collect()
}

#[test]
fn any_bytes_arrive_as_they_are() {
    for wire_form in ["scalyr", "json"] {
        let mut site = Site::new();
        site.set("line_completion_wait_time", 0.3)
            .set("wire_form", wire_form)
            .copy("*.log")
            .start();
        let mut check = |name: &str, content: &[u8]| comes_as_it_is(&mut site, name, content);
        check("text.log", b"one\ntwo\nthree\n");
        check("empty-lines.log", b"\n\n\na\n\n\r\n\n");
        check("crlf.log", b"one\r\ntwo\r\n\r\nthree\rstill three\r\n");
        check("no-end.log", b"one\ntwo without an end");
        check("one-byte.log", b"x");
        check("nul.log", b"a\0b\n\0\n\0\0\0\nc\n");
        check("control.log", &(0..128).collect::<Vec<u8>>());
        check(
            "utf-8.log",
            "gr\u{fc}n \u{20ac} \u{1f600} \u{2028}\u{2029}\u{85} \u{feff}\n".as_bytes(),
        );
        check(
            "escapes.log",
            b"\"quoted\" \\back\\slash </script> \\u0041 \t\x08\x0c\x7f\n",
        );
        check(
            "like-json.log",
            b"{\"status\":\"success\"},\"client_time\":1}]}\n",
        );
        if wire_form == "scalyr" {
            // Text in strict JSON can't hold these
            check(
                "latin-1.log",
                b"gr\xfcn\n\xff\xfe\n\xc3\n\xc3\x28\n\xed\xa0\x80\n\xf8\x88\n",
            );
            check("all-bytes.log", &(0..=255).collect::<Vec<u8>>());
            check("binary.log", &random(300_000, 0x1234_5678_9ABC));
            check("no-newline.log", &vec![0xA5; 200_000]);
        }
    }
}

#[test]
fn long_lines_arrive_in_pieces_that_make_the_whole() {
    let mut site = Site::new();
    site.set("line_completion_wait_time", 0.3)
        .copy("*.log")
        .start();
    for length in [
        49_898,
        49_899,
        49_900,
        49_901,
        65_535,
        65_536,
        99_800,
        1 << 20,
    ] {
        let mut line: Vec<u8> = random(length, length as u64 * 2 + 1);
        line.iter_mut().for_each(|byte| *byte = b'a' + *byte % 26);
        line.push(b'\n');
        line.extend_from_slice(b"and a short one\n");
        comes_as_it_is(&mut site, &format!("long-{length}.log"), &line);
    }
    let longest = site.receiver.events().iter().map(|e| e.message.len()).max();
    assert_eq!(longest, Some(49_900));
}

#[test]
fn lines_that_are_written_piece_by_piece_arrive_whole() {
    let mut site = Site::new();
    let mut numbers = site.numbers("app.log").padded(5_000);
    site.copy("app.log").start();
    for _ in 0..30 {
        numbers.write_half();
        // The agent looks in between
        std::thread::sleep(Duration::from_millis(30));
        numbers.write(1);
    }
    site.expect_exactly_once("app.log", numbers.all());
    site.assert_in_order("app.log");
}

#[test]
fn names_that_are_odd_are_followed_too() {
    let mut site = Site::new();
    let names = [
        "with space.log",
        "gr\u{fc}n \u{20ac}.log",
        "TIMESTAMP THREADS LOGS.log",
        "quote\"back\\slash.log",
        "new\nline.log",
        "{brace} 'single' $VAR %d.log",
        "-c.log",
    ];
    for name in names {
        site.numbers(name).write(20);
    }
    site.copy("*.log").start();
    for name in names {
        site.expect_exactly_once(name, 0..20);
    }
    site.kill9();
    for name in names {
        Numbers::starting_at(site.log_path(name), 20).write(20);
    }
    site.start();
    for name in names {
        site.expect_exactly_once(name, 0..40);
    }
}

#[test]
fn fifos_sockets_devices_and_folders_are_left_alone() {
    let mut site = Site::new();
    let fifo = site.log_path("fifo.log");
    nix::unistd::mkfifo(&fifo, Mode::S_IRWXU).unwrap();
    let _socket = UnixListener::bind(site.log_path("socket.log")).unwrap();
    symlink("/dev/zero", site.log_path("device.log")).unwrap();
    symlink("/dev/tty", site.log_path("terminal.log")).unwrap();
    symlink("nowhere", site.log_path("dangling.log")).unwrap();
    symlink("circle.log", site.log_path("circle.log")).unwrap();
    fs::create_dir(site.log_path("folder.log")).unwrap();
    let mut numbers = site.numbers("app.log");
    numbers.write(50);
    // Also where they are named
    for name in ["fifo.log", "device.log", "folder.log"] {
        site.copy(name);
    }
    site.copy("*.log").start();
    site.until_lines("app.log", 50);
    // More scans, with them still there
    site.until_requests(2);
    numbers.write(50);
    site.expect_exactly_once("app.log", 0..100);
    let logs = site.receiver.counts().logs;
    assert_eq!(logs.len(), 1, "{logs:?}");
    // A writer of a FIFO that someone reads would not be refused
    let writer = nix::fcntl::open(
        &fifo,
        nix::fcntl::OFlag::O_WRONLY | nix::fcntl::OFlag::O_NONBLOCK,
        Mode::empty(),
    );
    assert_eq!(writer.map(drop), Err(nix::errno::Errno::ENXIO));
    let open = site.descriptors();
    assert!(!open.iter().any(|path| path.ends_with("zero")), "{open:?}");
    // A FIFO that takes the place of a log is not opened, and the log is followed when it is back
    let away = numbers.rename("away");
    nix::unistd::mkfifo(numbers.path(), Mode::S_IRWXU).unwrap();
    site.until_requests(2);
    fs::rename(&away, numbers.path()).unwrap();
    numbers.write(50);
    site.expect_exactly_once("app.log", 0..150);
    site.term();
}

#[test]
fn an_unreadable_file_is_told_once_and_copied_when_it_can_be_read() {
    let mut site = Site::new();
    // Root reads everything, unless told not to
    if nix::unistd::geteuid().is_root() && !site.respect_modes() {
        println!("skipped: as root every file can be read, and setpriv does not work here");
        return;
    }
    let mut secret = site.numbers("secret.log");
    let mut numbers = site.numbers("app.log");
    secret.write(30);
    numbers.write(30);
    let path = site.log_path("secret.log");
    fs::set_permissions(&path, Permissions::from_mode(0o000)).unwrap();
    site.copy("*.log").start();
    site.until_lines("app.log", 30);
    site.until_requests(4);
    let log = site.agent_log();
    let told = log
        .lines()
        .filter(|l| l.contains("secret.log") && l.contains("WARN"))
        .count();
    assert_eq!(told, 1, "{log}");
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    site.expect_exactly_once("secret.log", 0..30);
    secret.write(30);
    numbers.write(30);
    site.expect_exactly_once("secret.log", 0..60);
    site.expect_exactly_once("app.log", 0..60);
}

#[test]
fn folders_that_all_link_to_each_other_do_not_hold_the_agent_up() {
    const N: usize = 12;
    let mut site = Site::new();
    let mut numbers = site.numbers("app.log");
    site.copy("**/*.log").start();
    for from in 0..N {
        fs::create_dir_all(site.log_path(&format!("t/d{from}"))).unwrap();
        for to in (0..N).filter(|to| *to != from) {
            let link = site.log_path(&format!("t/d{from}/d{to}"));
            symlink(format!("../d{to}"), link).unwrap();
        }
    }
    let mut deep = site.numbers("t/d7/deep.log");
    deep.write(30);
    site.expect_exactly_once("t/d7/deep.log", 0..30);
    numbers.write(30);
    site.expect_exactly_once("app.log", 0..30);
    // Under one name, though a hundred thousand paths lead to it
    assert_eq!(site.receiver.counts().logs.len(), 2);
    let asked = Instant::now();
    site.term();
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn a_pattern_that_leads_to_too_much_is_named() {
    let mut site = Site::new();
    fs::create_dir(site.log_path("t")).unwrap();
    for link in 0..60 {
        symlink(".", site.log_path(&format!("t/l{link}"))).unwrap();
    }
    let mut numbers = site.numbers("app.log");
    numbers.write(30);
    site.copy("app.log").copy("t/*/*/*/*/*.log");
    site.write_config();
    let why = "leads to more than can be looked at";
    let pattern = site.log_path("t/*/*/*/*/*.log");
    let pattern = pattern.to_str().unwrap();
    let said = site.run(&["check"]);
    let bad = format!("FAIL  {pattern}: the pattern {why}");
    assert!(said.out.contains(&bad), "{}", said.out);
    site.start();
    site.expect_exactly_once("app.log", 0..30);
    site.until_requests(3);
    let log = site.agent_log();
    let warned = |l: &&str| l.contains("WARN") && l.contains(pattern) && l.contains(why);
    assert_eq!(log.lines().filter(warned).count(), 1, "{log}");
    let status = site.status_v();
    assert!(status.contains(why), "{status}");
}

/// Asserts that `check`, `explain`, `status -v` and agent.log say why a path is refused, and that it
/// is read once an entry names it.
#[track_caller]
fn refusal_is_told(site: &mut Site, name: &str, why: &str) {
    let path = site.log_path(name);
    let path = path.to_str().unwrap();
    site.write_config();
    let said = site.run(&["check"]);
    let bad = format!("FAIL  {path} is not read: ");
    let line = said.out.lines().find(|line| line.contains(&bad));
    assert!(line.is_some_and(|l| l.contains(why)), "{}", said.out);
    assert!(said.out.contains("or set follow_foreign_links."));
    let said = site.run(&["explain", path]);
    assert!(said.out.contains(why), "{}", said.out);
    assert!(said.out.contains("or set follow_foreign_links"));
    assert_eq!(said.code, 1, "it is not copied");
    let mut numbers = site.numbers("app.log");
    numbers.write(30);
    site.start();
    site.expect_exactly_once("app.log", 0..30);
    // More scans
    site.until_requests(3);
    let log = site.agent_log();
    let warned = |l: &&str| l.contains("WARN") && l.contains(path) && l.contains(why);
    assert_eq!(log.lines().filter(warned).count(), 1, "{log}");
    let status = site.status_v();
    assert!(status.contains(path) && status.contains(why), "{status}");
    assert_eq!(site.receiver.counts().logs.len(), 1);
    let text = format!("{{\"logs\": [{{\"path\": \"{path}\"}}]}}");
    site.write_fragment("named.json", &text);
    site.signal(nix::sys::signal::Signal::SIGHUP);
    site.until(&format!("lines of {name}"), |state| {
        state.counts().logs.contains_key(path)
    });
}

#[test]
fn a_hard_link_in_a_folder_of_everyone_is_told_and_not_sent_until_it_is_named() {
    let mut site = Site::new();
    site.append("secret", "secret\n");
    fs::set_permissions(site.path("logs"), Permissions::from_mode(0o1777)).unwrap();
    fs::hard_link(site.log_path("secret"), site.log_path("x.log")).unwrap();
    site.copy("*.log");
    refusal_is_told(&mut site, "x.log", "it has 2 hard links");
}

#[test]
#[ignore = "makes links of another user: run as root"]
fn somebodys_link_to_a_file_of_root_is_told_and_not_sent_until_it_is_named() {
    let mut site = Site::new();
    fs::write(site.path("shadow"), "secret\n").unwrap();
    symlink("../shadow", site.log_path("x.log")).unwrap();
    std::os::unix::fs::lchown(site.log_path("x.log"), Some(65534), None).unwrap();
    site.copy("*.log");
    refusal_is_told(&mut site, "x.log", "belongs to user 65534");
}

/// Without `allow_http` an `http://` address is no reason to talk plain text.
#[test]
fn nothing_goes_out_in_plain_text_without_allow_http() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let mut site = Site::new();
    site.unset("allow_http").set(
        "scalyr_server",
        format!("http://{}", listener.local_addr().unwrap()),
    );
    site.numbers("app.log").write(100);
    site.copy("app.log");
    site.write_config();
    site.start();
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut connections = 0;
    while connections < 2 && Instant::now() < deadline && !site.has_ended() {
        let Ok((mut stream, _)) = listener.accept() else {
            std::thread::sleep(Duration::from_millis(10));
            continue;
        };
        connections += 1;
        stream.set_nonblocking(false).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_millis(500)))
            .unwrap();
        let mut said = [0; 4096];
        let n = stream.read(&mut said).unwrap_or(0);
        let said = &said[..n];
        // A TLS handshake, and nothing that could be read on the way
        assert!(
            said.is_empty() || said[0] == 0x16,
            "{:?}",
            String::from_utf8_lossy(said)
        );
        for secret in ["test-key", "POST", "addEvents", "n=0000"] {
            let found = said
                .windows(secret.len())
                .any(|part| part == secret.as_bytes());
            assert!(!found, "{secret} in {said:?}");
        }
    }
    // It tried, or said right away that it will not
    assert!(connections > 0 || site.has_ended(), "{}", site.report());
    assert_eq!(site.receiver.counts().connections, 0);
}

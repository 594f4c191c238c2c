//! With real servers, and beside the Python agent.

use super::*;
use common::testing::Scratch;
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const PATIENCE: Duration = Duration::from_secs(60);

/// A program that is killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Starts `program`, and waits until it listens.
fn starts(program: &mut Command, port: u16) -> (Running, SocketAddr) {
    let running = program
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let running = Running(running);
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let began = Instant::now();
    while TcpStream::connect(address).is_err() {
        assert!(began.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(20));
    }
    (running, address)
}

fn node_exporter() -> (Running, SocketAddr) {
    let port = free_port();
    let mut program = Command::new("prometheus-node-exporter");
    starts(
        program.arg(format!("--web.listen-address=127.0.0.1:{port}")),
        port,
    )
}

/// The value of a series, given as its name and fields.
fn value(lines: &str, series: &str) -> Option<f64> {
    let line = lines.lines().find(|line| split(line).0 == series)?;
    split(line).1.parse().ok()
}

/// Name with fields, and value.
fn split(line: &str) -> (String, &str) {
    let (name, rest) = line.split_once(' ').unwrap();
    // No value of the page is a text with blanks.
    let (value, fields) = rest.split_once(' ').unwrap_or((rest, ""));
    (format!("{name} {fields}").trim().to_owned(), value)
}

#[test]
#[ignore = "needs prometheus-node-exporter"]
fn the_node_exporter_of_debian_is_read_without_a_malformed_line() {
    let (_server, address) = node_exporter();
    let mut tried = Tried::new(address, json!({}));
    let mut requests = Vec::new();
    for _ in 0..3 {
        let (lines, error) = tried.sample();
        assert_eq!(error, "");
        assert!(lines.lines().count() > 200, "{lines}");
        assert!(lines.contains("\ngo_info 1 version=\"go1"), "{lines}");
        assert!(lines.contains("\ngo_gc_duration_seconds_count "), "{lines}");
        assert!(!lines.contains("quantile="), "{lines}");
        let series = "promhttp_metric_handler_requests_total code=\"200\"";
        requests.push(value(&lines, series).unwrap());
        let uptime = std::fs::read_to_string("/proc/stat").unwrap();
        let boot = uptime.lines().find_map(|line| line.strip_prefix("btime "));
        let boot: f64 = boot.unwrap().parse().unwrap();
        let told = value(&lines, "node_boot_time_seconds").unwrap();
        assert!((told - boot).abs() <= 1.0, "{told} {boot}");
    }
    assert_eq!(requests, [0.0, 1.0, 2.0]);
    assert_eq!(tried.counted("malformed_lines"), 0);
    // Counters move with what was done
    let files = |tried: &mut Tried| value(&tried.sample().0, "node_forks_total").unwrap();
    let before = files(&mut tried);
    for _ in 0..20 {
        assert!(Command::new("true").status().unwrap().success());
    }
    assert!(files(&mut tried) >= before + 20.0);
}

/// The lines of the first sample of the Python agent's monitor, without stamp and tag.
fn pythons(address: SocketAddr, folder: &Path) -> Vec<String> {
    let python = std::env::var_os("SCALYR_TEST_PYTHON").unwrap_or_else(|| "python3".into());
    let options = json!({"url": format!("http://{address}/metrics"), "sample_interval": 1});
    let child = Command::new(python)
        .args(["-m", "scalyr_agent.run_monitor", "-c"])
        .arg(options.to_string())
        .arg(DESCRIPTION.module)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("SCALYR_TEST_PYTHON has to name a Python with the package scalyr-agent-2");
    let mut child = Running(child);
    let out = BufReader::new(child.0.stdout.take().unwrap());
    let mut lines = Vec::new();
    let mut first = None;
    for line in out.lines().map_while(Result::ok) {
        let Some((stamp, rest)) = line.split_once(" [openmetrics_monitor()] ") else {
            continue;
        };
        // All lines of a sample have the same stamp.
        if first.get_or_insert_with(|| stamp.to_owned()) != stamp {
            return lines;
        }
        // Without orjson it writes the sign of an exponent.
        lines.push(rest.replace("e+", "e"));
    }
    panic!("it ended after {lines:?}");
}

#[test]
#[ignore = "needs the Python agent (SCALYR_TEST_PYTHON)"]
fn a_page_that_the_python_agent_reads_well_is_written_just_as_it_does() {
    let scratch = Scratch::new("om-parity");
    let page = r#"# HELP a A help, with { and }.
# TYPE a counter
a{method="post",code="200"} 1027 1395066363000
a{method="post",code="400"} 3.0
# TYPE s summary
s{quantile="0.01"} 3102
s_sum 1.7560473e+07
s_count 2693
# TYPE h histogram
h_bucket{le="0.1"} 5
h_bucket{le="+Inf"} 144320
h_sum 53423
# TYPE g gauge
g -5
big 18446744073709551615
big_float 1.8446744073709552e+19
small 1.5e-05
whole 2e+2
inf_pos +Inf
nan NaN
upper_Case-Name 7
metric{monitor="x",value="y",instance="i",severity="s"} 5
trailing{a="b",} 6
empty{a=""} 6
blanks{a=" b  c "}    7
comma{a="b,c"} 8
unicode{a="é☃"} 9
no_label{} 10
minus_zero -0.0
colon{le="1"} 0.30000000000000004
created_created 1.6e+09
"#;
    let address = serves(TEXT, page);
    let ours = Tried::new(address, json!({})).sample().0;
    let theirs = pythons(address, &scratch.path("."));
    assert_eq!(ours.lines().collect::<Vec<_>>(), theirs);
}

#[test]
#[ignore = "needs prometheus-node-exporter and the Python agent (SCALYR_TEST_PYTHON)"]
fn the_node_exporter_is_written_as_the_python_agent_does() {
    let scratch = Scratch::new("om-node");
    let (_server, address) = node_exporter();
    let mut tried = Tried::new(address, json!({}));
    tried.sample();
    let before = tried.sample().0;
    let theirs = pythons(address, &scratch.path("."));
    let after = tried.sample().0;
    let series = |lines: &str| lines.lines().map(|line| split(line).0).collect::<Vec<_>>();
    let python: Vec<String> = theirs.iter().map(|line| split(line).0).collect();
    // A network device or a file system may come or go meanwhile.
    if series(&before) == series(&after) {
        assert_eq!(python, series(&before));
    }
    let last: BTreeMap<String, f64> = after
        .lines()
        .filter_map(|line| Some((split(line).0, split(line).1.parse().ok()?)))
        .collect();
    let mut compared = 0;
    for line in &theirs {
        let (name, told) = split(line);
        let Ok(told) = told.parse::<f64>() else {
            continue;
        };
        let (Some(first), Some(last)) = (value(&before, &name), last.get(&name)) else {
            continue;
        };
        // Counters lie between; what goes up and down is near.
        let slack = 0.5 * first.abs().max(last.abs()) + 50.0;
        assert!(
            told >= first.min(*last) - slack && told <= first.max(*last) + slack,
            "{line}: ours {first} and later {last}"
        );
        compared += 1;
    }
    assert!(compared > 200, "{compared}");
    // Also the form: a float here is a float there.
    let point = |lines: &str, name: &str| {
        let line = lines.lines().find(|line| split(line).0 == name);
        line.map(|line| split(line).1.contains(['.', 'e']))
    };
    for line in &theirs {
        let (name, told) = split(line);
        if name.starts_with("node_boot") || name.starts_with("node_memory_MemTotal") {
            assert_eq!(
                point(&after, &name),
                Some(told.contains(['.', 'e'])),
                "{name}"
            );
        }
    }
}

/// A certificate for localhost that vouches for itself.
#[cfg(feature = "tls")]
fn certificate(scratch: &Scratch, name: &str) -> (std::path::PathBuf, std::path::PathBuf) {
    let (key, cert) = (
        scratch.path(&format!("{name}.key")),
        scratch.path(&format!("{name}.pem")),
    );
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
        ])
        .args(["-addext", "subjectAltName=DNS:localhost"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&cert)
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(made.success());
    (key, cert)
}

#[test]
#[cfg(feature = "tls")]
#[ignore = "needs openssl"]
fn certificates_are_trusted_by_ca_file_or_by_nobody_s_leave() {
    let scratch = Scratch::new("om-tls");
    let (key, cert) = certificate(&scratch, "server");
    let (_, other) = certificate(&scratch, "other");
    std::fs::write(scratch.path("metrics"), "a 1\n").unwrap();
    let port = free_port();
    let mut program = Command::new("openssl");
    let program = program
        .args([
            "s_server",
            "-quiet",
            "-WWW",
            "-accept",
            &format!("127.0.0.1:{port}"),
        ])
        .current_dir(scratch.path("."))
        .arg("-key")
        .arg(&key)
        .arg("-cert")
        .arg(&cert);
    let (_server, address) = starts(program, port);
    let url = format!("https://localhost:{port}/metrics");
    for (entry, works) in [
        (json!({}), false),
        (json!({"ca_file": cert}), true),
        (json!({"verify_https": false}), true),
        (json!({"ca_file": other, "verify_https": false}), false),
        (
            json!({"ca_file": scratch.path("none"), "verify_https": false}),
            false,
        ),
    ] {
        let mut entry = entry;
        entry["url"] = url.clone().into();
        let (lines, error) = Tried::new(address, entry.clone()).sample();
        if works {
            assert_eq!((lines.as_str(), error.as_str()), ("a 1\n", ""), "{entry}");
        } else {
            assert_eq!(lines, "");
            assert!(error.contains("certificate"), "{error}");
        }
    }
    // The file is read anew after a failure
    let late = scratch.path("late.pem");
    let mut tried = Tried::new(address, json!({"url": url, "ca_file": late}));
    assert!(tried.sample().1.contains("late.pem"));
    std::fs::copy(&cert, &late).unwrap();
    assert_eq!(tried.sample().0, "a 1\n");
}

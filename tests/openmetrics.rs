//! `openmetrics_monitor` in the agent's own program: its memory, `check`, and the way of its lines.

mod common;

use common::process::Process;
use common::{Site, DEADLINE};
use serde_json::{json, Value};
use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{channel, Receiver};
use std::thread::spawn;

/// Answers each connection, after its request has come, by `answer`.
fn server(mut answer: impl FnMut(&mut TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut got = Vec::new();
            let mut byte = [0];
            while !got.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
                got.push(byte[0]);
            }
            answer(&mut stream);
        }
    });
    address
}

/// A page like that of a large service: 30 samples in each family.
fn page(series: usize) -> String {
    let mut text = String::new();
    for n in 0..series {
        if n % 30 == 0 {
            let family = n / 30;
            writeln!(
                text,
                "# HELP http_requests_{family}_total Requests by path."
            )
            .unwrap();
            writeln!(text, "# TYPE http_requests_{family}_total counter").unwrap();
        }
        writeln!(
            text,
            "http_requests_{}_total{{path=\"/api/v1/things/{n}\",method=\"GET\",code=\"200\",instance=\"host-{n}.example\"}} {n}",
            n / 30
        )
        .unwrap();
    }
    text
}

fn peak_kb(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let value = line.unwrap().trim().trim_end_matches(" kB");
    value.parse().unwrap()
}

/// The most memory that a scrape takes, in kB, and how many lines it writes.
fn scrape(site: &Site, series: usize, packed: bool) -> (u64, usize) {
    let (send_pid, pid): (_, Receiver<i32>) = channel();
    let (send_peak, peak) = channel();
    let mut body = page(series).into_bytes();
    if packed {
        let (plain, gz) = (site.path("page"), site.path("page.gz"));
        fs::write(&plain, &body).unwrap();
        common::gzip(&plain, &gz);
        body = fs::read(&gz).unwrap();
    }
    let address = server(move |stream| {
        let encoding = if packed { "gzip" } else { "identity" };
        let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        // The program is at work until it has the last byte.
        let (last, all) = body.split_last().unwrap();
        stream.write_all(all).unwrap();
        send_peak.send(peak_kb(pid.recv().unwrap())).unwrap();
        stream.write_all(&[*last]).unwrap();
    });
    let options = json!({"url": format!("http://{address}/metrics"), "timeout": 60});
    let args = [
        "monitor",
        "run",
        "openmetrics_monitor",
        "-n",
        "1",
        "-c",
        &options.to_string(),
    ];
    let args: Vec<_> = args.iter().map(Into::into).collect();
    let name = format!("scrape-{series}-{packed}");
    let mut process = Process::start(&common::program(), &args, &site.path("."), &name);
    send_pid.send(process.pid()).unwrap();
    let ended = process.wait_exit(DEADLINE).unwrap();
    assert!(ended.success(), "{}", process.output());
    let peak = peak.recv().unwrap();
    let lines = process.stdout();
    (
        peak,
        lines
            .lines()
            .filter(|line| line.contains("_total "))
            .count(),
    )
}

#[test]
fn a_hundred_thousand_series_take_hardly_more_memory_than_a_hundred() {
    let site = Site::new();
    for packed in [false, true] {
        let (few, lines) = scrape(&site, 100, packed);
        assert_eq!(lines, 100);
        let (many, lines) = scrape(&site, 100_000, packed);
        assert_eq!(lines, 100_000);
        println!("packed {packed}: 100 series {few} kB, 100,000 series {many} kB");
        // The page has 13 MB, its lines 15 MB.
        assert!(many < few + 2_000, "{few} {many}");
    }
}

fn entry(address: SocketAddr, id: &str) -> Value {
    json!({
        "module": "scalyr_agent.builtin_monitors.openmetrics_monitor",
        "id": id,
        "url": format!("http://{address}/metrics"),
        "sample_interval": 0.2,
    })
}

#[test]
fn the_metrics_of_two_pages_arrive_while_a_third_server_is_away() {
    let serve = |page: &'static str| {
        server(move |stream| {
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{page}",
                page.len()
            );
        })
    };
    let away = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let mut site = Site::new();
    let first = serve("a{b=\"c\"} 1\nnonsense\n");
    let second = serve("d 2.5\n");
    let entries = json!([
        entry(first, "one"),
        entry(second, "two"),
        entry(away, "three")
    ]);
    site.set("monitors", entries);
    site.set("global_monitor_sample_interval_enable_jitter", false);
    site.start();
    site.until("metrics of both", |state| {
        let count = |part: &str| state.events().filter(|e| e.text().contains(part)).count();
        count("[openmetrics_monitor(one)] a 1 b=\"c\"") > 3
            && count("[openmetrics_monitor(two)] d 2.5") > 3
    });
    site.until_logged("Connection refused: nothing listens there");
    site.until_logged("1 lines of http://");
    let log = site.agent_log();
    assert_eq!(log.matches("Connection refused").count(), 1, "{log}");
    assert_eq!(
        log.matches("\\\"nonsense\\\"").count() + log.matches("\"nonsense\"").count(),
        1,
        "{log}"
    );
    site.term();
}

#[test]
fn check_says_which_page_can_not_be_read_and_what_to_do() {
    let good = server(|stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\na 1\nb 2\n");
    });
    let closed = server(|stream| {
        let _ = stream.write_all(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n");
    });
    let mut site = Site::new();
    site.set(
        "monitors",
        json!([entry(good, "good"), entry(closed, "closed")]),
    );
    site.write_config();
    let said = site.run(&["check"]);
    assert!(
        said.out.contains("openmetrics_monitor(good): 2 lines in "),
        "{}",
        said.out
    );
    let told = said.out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        told.contains("status 401; give a login by headers or bearer_token_file"),
        "{told}"
    );
}

//! `cargo demo`: a receiver and the agent on loopback, and on the terminal what arrives.
//!
//! One program is both: started under the name `scalyr-agent-2` it is the agent, so a single build
//! gives a process of its own for it. Everything written lies in one temporary folder, which is
//! removed at the end.

#![forbid(unsafe_code)]

mod agent;
mod machine;
mod screen;
mod site;

use agent::Agent;
use machine::Followed;
use nix::sys::signal::Signal;
use receiver::{Options, Receiver};
use screen::{Arrivals, Screen};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use site::Site;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

const USAGE: &str = "\
usage: cargo demo [-- --seconds N]
    Starts a receiver and the agent on this machine, follows log files of /var/log and system
    metrics, and shows what arrives, until Ctrl-C or for N seconds.
";

/// How often the terminal is brought up to date.
const FRAME: Duration = Duration::from_millis(100);

fn main() {
    if agent::is_wanted() {
        agent::be();
    }
    let seconds = match arguments() {
        Ok(seconds) => seconds,
        Err(code) => std::process::exit(code),
    };
    std::process::exit(match run(seconds) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("demo: {error}");
            1
        }
    });
}

/// `--seconds`, or the exit code.
fn arguments() -> Result<Option<u64>, i32> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => Ok(None),
        ["--seconds", n] => n.parse().map(Some).map_err(|_| {
            eprint!("demo: --seconds {n} is not a whole number\n{USAGE}");
            2
        }),
        ["-h" | "--help"] => {
            print!("{USAGE}");
            Err(0)
        }
        _ => {
            eprint!("{USAGE}");
            Err(2)
        }
    }
}

fn run(seconds: Option<u64>) -> io::Result<i32> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    let site = Site::new()?;
    let arrivals = Arc::new(Arrivals::default());
    let seen = Arc::clone(&arrivals);
    let receiver = Receiver::start(Options {
        folder: Some(site.path("received")),
        keep_events: 1000,
        observer: Some(Box::new(move |event| seen.add(event))),
        ..Options::default()
    })?;
    let mut followed = machine::logs();
    let mut writer = None;
    if followed.is_empty() {
        let path = site.path("demo.log");
        writer = Some(machine::Writer::create(&path)?);
        followed.push(Followed::whole(path));
    }
    site.write_config(&receiver.url(), &followed)?;
    let mut agent = Agent::start(&site)?;
    let mut screen = Screen::new(&site)?;
    screen.say("")?;
    screen.say(&format!(
        "receiver  {}   (try: curl '{}/search?text=error')",
        receiver.url(),
        receiver.url()
    ))?;
    screen.say(&format!(
        "agent     pid {}, all its files in {}",
        agent.pid(),
        site.root().display()
    ))?;
    screen.say(&format!("following {}", machine::describe(&followed)))?;
    screen.say("          and system metrics every 5 s. Ctrl-C ends it.")?;
    screen.say("")?;

    let started = Instant::now();
    let end = seconds.map(|n| started + Duration::from_secs(n));
    let mut died = false;
    while !stop.load(Ordering::SeqCst) && end.is_none_or(|end| Instant::now() < end) {
        std::thread::sleep(FRAME);
        if let Some(writer) = &mut writer {
            writer.write_due()?;
        }
        screen.show(&arrivals, &receiver.counts(), &agent)?;
        if agent.has_ended() {
            died = true;
            break;
        }
    }
    // The receiver lives until the agent has said good-bye: what it still has is delivered
    let clean = agent.stop(Signal::SIGTERM);
    screen.show(&arrivals, &receiver.counts(), &agent)?;
    let counts = receiver.counts();
    screen.finish(&counts)?;
    drop(receiver);
    if died || !clean {
        eprintln!("demo: the agent did not run or end as it should. It said:");
        eprintln!("{}", agent.said());
    }
    Ok(i32::from(died || !clean || counts.events == 0))
}

//! Processes that the agent did not start and is the parent of. A test file of its own, as it makes the whole
//! process the parent of orphans.

use monitors::children::{reap_orphans, start};
use std::process::Command;
use std::time::{Duration, Instant};

/// The children of this process that have ended and that nobody has waited for.
fn zombies() -> Vec<u32> {
    let me = std::process::id().to_string();
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    all.filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        let fields = stat.rsplit_once(')')?.1;
        let mut fields = fields.split_ascii_whitespace();
        (fields.next() == Some("Z") && fields.next() == Some(&me)).then_some(pid)
    })
    .collect()
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}; {:?}", zombies());
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn sh(script: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]);
    command
}

#[test]
fn orphans_are_reaped_and_no_monitor_loses_the_exit_status_that_it_waits_for() {
    nix::sys::prctl::set_child_subreaper(true).unwrap();
    assert_eq!(reap_orphans(), 0);
    // Each leaves one behind that ends later: by itself, and by a signal without a name
    let mut own = start(&mut sh("sleep 0.2 & exit 7")).unwrap();
    let mut other = start(&mut sh("sh -c 'kill -40 $$; sleep 60' & exit 8")).unwrap();
    // One that a wrapper left running before it became the agent is no orphan, and not ours either
    let of_wrapper = sh("exit 0").spawn().unwrap().id();
    until("all have ended", || zombies().len() == 5);
    assert_eq!(reap_orphans(), 3);
    let mut left = zombies();
    left.sort_unstable();
    let mut of_monitors = [own.id(), other.id()];
    of_monitors.sort_unstable();
    assert_eq!(left, of_monitors);
    assert!(!left.contains(&of_wrapper));
    assert_eq!(reap_orphans(), 0);
    assert_eq!(own.wait().unwrap().code(), Some(7));
    assert_eq!(other.wait().unwrap().code(), Some(8));
    // One whose owner does not wait for it
    drop(start(&mut sh("exit 9")).unwrap());
    until("it has ended", || zombies().len() == 1);
    assert_eq!(reap_orphans(), 1);
    assert_eq!(zombies(), [0; 0]);
}

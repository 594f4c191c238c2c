//! How often an idle machine is woken.

use super::*;

/// The wake-ups of a minute, each a little late as they are.
fn wakes(minimum: Duration) -> usize {
    let mut desk = Desk::new(&["*.log"]);
    for name in ["a.log", "b.log", "c.log"] {
        desk.append(name, "1\n");
    }
    desk.start();
    desk.run(15);
    let tailer = desk.tailer.as_mut().unwrap();
    for (n, log) in tailer.logs.values_mut().enumerate() {
        let entry = Arc::make_mut(&mut log.entry);
        entry.minimum_scan_interval = minimum;
        // Not in step with each other
        log.due = desk.now + Duration::from_millis(700 * n as u64);
        tailer.due.push(std::cmp::Reverse((log.due, log.number())));
    }
    desk.run(10);
    let tailer = desk.tailer.as_mut().unwrap();
    let end = desk.now + Duration::from_secs(60);
    let mut now = desk.now;
    let mut count = 0;
    loop {
        now = tailer.next_poll().max(now) + Duration::from_millis(2);
        if now >= end {
            return count;
        }
        tailer.poll(now);
        count += 1;
    }
}

#[test]
fn idle_files_share_their_wake_ups() {
    let usual = wakes(Duration::ZERO);
    assert!((55..=62).contains(&usual), "{usual}");
    let own = wakes(Duration::from_secs(5));
    assert!((11..=14).contains(&own), "{own}");
}

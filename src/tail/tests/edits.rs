//! Files that their writers write anew, shorten or fill with holes.

use super::*;

#[test]
fn a_report_that_is_written_anew_one_line_longer_is_sent_whole() {
    let report = |day: u32, lines: u32| -> String {
        let line =
            |n| format!("2026-11-{day} volume {n:02} was compared with the catalogue: all ok\n");
        (0..lines).map(line).collect()
    };
    let mut desk = Desk::copied(report(1, 20));
    fs::write(desk.path("a.log"), report(2, 21)).unwrap();
    desk.run(3);
    fs::write(desk.path("a.log"), report(3, 22)).unwrap();
    desk.run(3);
    assert_eq!(
        desk.all("a.log"),
        report(1, 20) + &report(2, 21) + &report(3, 22)
    );
}

#[test]
fn an_unfinished_end_that_is_taken_back_repeats_nothing() {
    for long in [1, 400] {
        let text: String = (0..long).map(|n| format!("line {n}\n")).collect();
        let mut desk = Desk::copied(&text);
        desk.append("a.log", "half a li");
        desk.run(2);
        let file = OpenOptions::new().write(true).open(desk.path("a.log"));
        file.unwrap().set_len(text.len() as u64).unwrap();
        desk.run(2);
        desk.append("a.log", "whole\n");
        desk.run(3);
        assert_eq!(desk.all("a.log"), format!("{text}whole\n"));
        assert_eq!((desk.arrived.resent, desk.lost()), (0, 0));
    }
}

#[test]
fn a_file_that_is_overwritten_where_the_folder_cannot_be_listed_does_not_turn_for_ever() {
    within(20, || {
        let mut desk = Desk::new(&["a.log", "b.log"]);
        desk.append("a.log", "1\n");
        desk.append("b.log", "1\n");
        desk.start();
        desk.run(2);
        desk.close_all();
        desk.tailer.as_mut().unwrap().open = 0;
        // A bind mount: the listing shows another inode than the path does
        let ino = desk.ino("a.log");
        listing::hide(ino);
        fs::write(desk.path("a.log"), "quite another text\n").unwrap();
        desk.append("b.log", "2\n");
        desk.run(3);
        listing::hide(0);
        assert_eq!(desk.all("a.log"), "1\nquite another text\n");
        assert_eq!(desk.all("b.log"), "1\n2\n");
    });
}

#[test]
fn deleted_files_with_unread_lines_outlive_a_lack_of_descriptors() {
    let mut desk = Desk::with(&["*.log"], true, |s| s.max_open_files = 10);
    desk.start();
    desk.run(1);
    for n in 0..8 {
        desk.append(&format!("victim{n}.log"), "victim\n");
    }
    let now = desk.now;
    desk.tailer.as_mut().unwrap().scan(now);
    for n in 0..8 {
        fs::remove_file(desk.path(&format!("victim{n}.log"))).unwrap();
    }
    for n in 0..40 {
        desk.append(&format!("other{n}.log"), "other\n");
    }
    desk.tailer.as_mut().unwrap().scan(now);
    let tailer = desk.tailer.as_mut().unwrap();
    // The others have their turn first
    let others = |n: &u64| !tailer.logs[n].path.to_string_lossy().contains("victim");
    let (first, last): (Vec<u64>, Vec<u64>) = tailer.logs.keys().copied().partition(others);
    tailer.ready = first.into_iter().chain(last).collect();
    desk.run(3);
    for n in 0..8 {
        assert_eq!(desk.all(&format!("victim{n}.log")), "victim\n");
    }
    for n in 0..40 {
        assert_eq!(desk.all(&format!("other{n}.log")), "other\n");
    }
}

#[test]
fn rotated_logs_that_a_pattern_also_matches_keep_no_idle_agent_busy() {
    let mut desk = Desk::new(&["a.log*"]);
    for name in ["a.log", "a.log.1", "a.log.2"] {
        desk.append(name, format!("text of {name}\n"));
    }
    desk.start();
    desk.run(4);
    desk.rename("a.log.2", "a.log.3");
    desk.rename("a.log.1", "a.log.2");
    desk.rename("a.log", "a.log.1");
    desk.append("a.log", "new\n");
    desk.run(120);
    let tailer = desk.tailer.as_mut().unwrap();
    let mut looks = 0;
    for _ in 0..600 {
        desk.now += Duration::from_millis(100);
        let due = tailer.due.len();
        let before: Vec<_> = tailer.logs.values().map(|l| l.due).collect();
        tailer.poll(desk.now);
        let after = tailer.logs.values().map(|l| l.due);
        looks += before.iter().zip(after).filter(|(a, b)| **a != *b).count();
        assert!(tailer.due.len() <= due + 4);
    }
    // Four paths in a minute, each at most once a second
    assert!(looks <= 240, "{looks} looks");
    assert_eq!(desk.all("a.log"), "text of a.log\nnew\n");
}

#[test]
fn a_report_that_is_written_anew_counts_no_loss() {
    let mut desk = Desk::copied("1 of the same length as all lines\n");
    fs::write(
        desk.path("a.log"),
        "2 of the same length as all lines\n3 of the same length as all lines\n",
    )
    .unwrap();
    desk.run(3);
    assert_eq!(desk.lost(), 0);
}

#[test]
fn a_preallocated_log_that_is_cut_to_its_text_at_the_end_repeats_nothing() {
    for long in [1, 400] {
        let text: String = (0..long).map(|n| format!("line {n}\n")).collect();
        let mut desk = Desk::new(&["a.log"]);
        desk.append("a.log", &text);
        desk.append("a.log", vec![0; 100_000]);
        desk.start();
        desk.run(3);
        assert_eq!(desk.all("a.log"), text);
        let file = OpenOptions::new().write(true).open(desk.path("a.log"));
        file.unwrap().set_len(text.len() as u64).unwrap();
        desk.run(3);
        desk.append("a.log", "more\n");
        desk.run(3);
        assert_eq!(desk.all("a.log"), format!("{text}more\n"));
        assert_eq!((desk.arrived.resent, desk.lost()), (0, 0));
    }
}

/// An array of 20 records whose closing bracket each append overwrites.
#[test]
fn an_array_whose_bracket_each_append_overwrites_repeats_three_lines_at_most() {
    let record = |n: usize| format!("{{\"record\": {n}, \"text\": \"of the {n}th\"}},\n");
    let array = |count: usize| format!("[\n{}]\n", (0..count).map(record).collect::<String>());
    let mut desk = Desk::copied(array(20));
    for count in 21..25 {
        fs::write(desk.path("a.log"), array(count)).unwrap();
        desk.run(4);
    }
    let all = desk.all("a.log");
    for n in 0..24 {
        assert_eq!(all.matches(&record(n)).count(), 1, "{n}: {all}");
    }
    // The first bracket once, the last one with each append
    assert_eq!(all.lines().count(), 24 + 1 + 5, "{all}");
}

#[test]
fn a_counter_in_the_header_that_each_append_changes_repeats_nothing() {
    let record = |n: usize| format!("record {n} of the journal\n");
    let text = |count: usize| {
        let records: String = (0..count).map(record).collect();
        format!("records: {count:06}\n{records}")
    };
    let mut desk = Desk::copied(text(200));
    for count in 201..206 {
        fs::write(desk.path("a.log"), text(count)).unwrap();
        desk.run(4);
    }
    let all = desk.all("a.log");
    for n in 0..205 {
        assert_eq!(all.matches(&record(n)).count(), 1, "{n}");
    }
    assert_eq!(all.lines().count(), 206, "{all}");
}

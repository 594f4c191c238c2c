//! Tailers that go on where others ended.

use super::shape::pipeline;
use super::*;
use crate::config::RedactionRule;

impl Desk {
    /// Ends, with the batch that was filled last, if there is one.
    fn pass_on(&mut self) -> Carried {
        let batch = std::mem::replace(&mut self.batch, Batch::new());
        self.tailer.take().unwrap().pass_on(vec![batch])
    }

    /// The server takes these.
    fn take_all(&mut self, batches: Vec<Batch>) {
        for mut batch in batches {
            self.arrived.take(&mut batch);
            let tailer = self.tailer.as_mut().unwrap();
            tailer.commit(&batch, self.now);
        }
    }
}

fn redacts(what: &str) -> Option<Arc<crate::shape::Pipeline>> {
    pipeline(|entry| {
        entry.redaction_rules = vec![RedactionRule {
            match_expression: what.to_owned(),
            replacement: "X".to_owned(),
            hash_salt: String::new(),
        }];
    })
}

#[test]
fn a_batch_of_a_log_that_is_not_to_be_copied_any_more_is_not_sent() {
    let mut desk = Desk::new(&["a.log", "b.log"]);
    desk.append("a.log", "a 1\n");
    desk.append("b.log", "b 1\n");
    desk.start();
    desk.fill();
    assert_eq!(desk.batch.events(), 2);
    let carried = desk.pass_on();
    desk.entries.pop();
    let batches = desk.go_on(vec![carried]);
    assert!(batches.is_empty());
    desk.run(2);
    assert_eq!(
        (desk.all("a.log"), desk.all("b.log")),
        ("a 1\n".into(), String::new())
    );
    // Its position is kept
    desk.append("b.log", "b 2\n");
    let carried = desk.pass_on();
    desk.entries.push(("b.log".into(), false));
    desk.go_on(vec![carried]);
    desk.run(2);
    assert_eq!(desk.all("b.log"), "b 1\nb 2\n");
    assert_eq!((desk.arrived.resent, desk.lost()), (0, 0));
}

#[test]
fn of_two_ledgers_in_one_each_batch_settles_what_it_was_made_of() {
    let mut desk = Desk::new(&["a.log"]);
    let mut carried = Vec::new();
    for name in ["a.log", "b.log"] {
        desk.entries = vec![(name.into(), true)];
        desk.append(name, format!("{name} 1\n"));
        desk.start();
        desk.fill();
        carried.push(desk.pass_on());
        desk.append(name, format!("{name} 2\n"));
    }
    desk.entries = vec![("a.log".into(), true), ("b.log".into(), true)];
    let parts = carried.into_iter().flat_map(|carried| carried.divide(1));
    let batches = desk.go_on(parts.collect());
    assert_eq!(batches.len(), 2);
    desk.take_all(batches);
    for name in ["a.log", "b.log"] {
        assert_eq!(desk.contents(name)[0].settled, 8);
    }
    desk.run(2);
    for name in ["a.log", "b.log"] {
        assert_eq!(desk.all(name), format!("{name} 1\n{name} 2\n"));
        assert_eq!(desk.pending(name), 0);
    }
    assert_eq!(desk.arrived.resent, 0);
}

#[test]
fn the_end_of_a_line_that_was_withheld_is_not_sent_by_other_rules() {
    let mut desk = Desk::new(&["a.log"]);
    desk.pipeline = redacts("s+");
    desk.append("a.log", format!("one\n{}", "s".repeat(200_000)));
    desk.start();
    desk.run(20);
    let before = desk.all("a.log");
    assert!(before.starts_with("one\n") && before.len() < 10_000);
    // The line has no end yet
    assert!(desk.pending("a.log") > 0);
    let carried = desk.pass_on();
    desk.pipeline = redacts("s+|x");
    let batches = desk.go_on(vec![carried]);
    desk.take_all(batches);
    desk.append("a.log", "ecret\ntwo\n");
    desk.run(20);
    let all = desk.all("a.log");
    assert!(all.ends_with("two\n") && !all.contains("ssss"));
    assert_eq!(desk.pending("a.log"), 0);
}

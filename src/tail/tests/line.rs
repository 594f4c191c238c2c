//! Where lines end, and lines that have no end or are too long.

use super::*;

#[test]
fn an_unterminated_line_waits_for_its_end_and_then_goes_as_it_is() {
    // The wait begins anew when the line grows; the Python agent goes on counting
    let mut desk = Desk::new(&["a.log"]);
    desk.append("a.log", "whole\nhal");
    desk.start();
    desk.run(3);
    assert_eq!(desk.all("a.log"), "whole\n");
    desk.append("a.log", "f\n");
    desk.run(2);
    assert_eq!(desk.all("a.log"), "whole\nhalf\n");
    desk.append("a.log", "tail");
    desk.run(12);
    assert_eq!(desk.all("a.log"), "whole\nhalf\ntail");
    desk.append("a.log", " more");
    desk.run(2);
    assert_eq!(desk.all("a.log"), "whole\nhalf\ntail");
    desk.append("a.log", "\n");
    desk.run(3);
    assert_eq!(desk.all("a.log"), "whole\nhalf\ntail more\n");
}

#[test]
fn the_unterminated_end_of_a_rotated_file_is_not_glued_to_the_next() {
    // The server gets two events, although no newline is between them
    let mut desk = Desk::new(&["a.log"]);
    desk.append("a.log", "abc");
    desk.start();
    desk.run(1);
    desk.rename("a.log", "a.log.1");
    desk.append("a.log", "new line\n");
    desk.run(10);
    assert_eq!(desk.log("a.log").counters.get().lines, 2);
    assert_eq!(desk.all("a.log"), "abcnew line\n");
}

#[test]
fn a_carriage_return_at_the_end_of_what_was_read_does_not_end_a_line() {
    // The newline that belongs to the carriage return may be in the next page
    let mut desk = Desk::new(&["a.log"]);
    desk.append("a.log", "abc\r");
    desk.start();
    desk.run(1);
    desk.append("a.log", "\nnext\r\n");
    desk.run(3);
    assert_eq!(desk.log("a.log").counters.get().lines, 2);
    assert_eq!(desk.all("a.log"), "abc\r\nnext\r\n");
}

#[test]
fn long_lines_are_cut_at_the_same_places_wherever_reading_starts() {
    let mut desk = Desk::with(&["a.log"], true, |s| {
        s.max_line_size = 100;
        s.read_page_size = 130;
    });
    desk.limit = 100_000;
    let line = "0123456789".repeat(35);
    desk.append(
        "a.log",
        format!("{line}\nshort\n{}\n{}\n", "x".repeat(99), "y".repeat(100)),
    );
    desk.start();
    desk.run(2);
    let log = desk.log("a.log");
    // 100+100+100+51, 6, 100, 100+1
    assert_eq!(log.counters.get().lines, 4 + 1 + 1 + 2);
    assert_eq!(desk.all("a.log").len(), 351 + 6 + 100 + 101);
}

#[test]
fn a_log_whose_attributes_leave_no_room_does_not_hang_on_a_long_line() {
    within(10, || {
        let mut desk = Desk::new(&["a.log", "b.log"]);
        desk.limit = 300;
        desk.append("a.log", "x".repeat(200_000));
        desk.append("a.log", "\n");
        desk.start();
        desk.run(3);
    });
}

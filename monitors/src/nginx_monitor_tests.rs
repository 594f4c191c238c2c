use super::*;
use crate::emitter::captured::emitter;
use common::limit::WriteLimit;

const PAGE: &str =
    "Active connections: 3 \nserver accepts handled requests\n 17 15 42 \nReading: 1 Writing: 2 Waiting: 4 \n";

#[test]
fn the_page_of_stub_status_is_read_as_recorded() {
    let all = |values: [u64; 8]| values.map(Some);
    assert_eq!(parse(PAGE), all([3, 1, 2, 4, 17, 15, 2, 42]));
    assert_eq!(
        parse(&PAGE.replace('\n', "\r\n")),
        all([3, 1, 2, 4, 17, 15, 2, 42])
    );
    // Tengine's page has one more column.
    let tengine = PAGE.replace(
        "requests\n 17 15 42",
        "requests request_time\n 17 15 42 9000",
    );
    assert_eq!(parse(&tengine), all([3, 1, 2, 4, 17, 15, 2, 42]));
}

#[test]
fn what_is_no_number_is_left_out_and_the_rest_comes() {
    let page = PAGE
        .replace("17 15 42", "x 15 -42")
        .replace("Writing: 2", "Writing: two");
    let values = parse(&page);
    assert_eq!(
        values,
        [Some(3), Some(1), None, Some(4), None, Some(15), None, None]
    );
    for page in [
        "",
        "Active connections:",
        "server accepts handled requests",
        "Reading:",
    ] {
        assert_eq!(parse(page), [None; 8]);
    }
    // Counters that went back: more handled than accepted is no negative number of drops.
    assert_eq!(parse(&PAGE.replace("17 15", "1 15"))[6], Some(0));
    let huge = PAGE.replace("17", "99999999999999999999999");
    assert_eq!(parse(&huge)[4], None);
}

#[test]
fn the_metrics_and_their_order_are_those_of_the_python_agent() {
    let (mut out, lines) = emitter("nginx_monitor()", WriteLimit::none(), &[]);
    write(&parse(PAGE), EXTRA, &mut out);
    out.flush();
    let stamp = "2022-04-15 11:11:08.015Z [nginx_monitor()] nginx.connections";
    assert_eq!(
        lines.take(),
        format!("{stamp}.active 3\n{stamp}.reading 1\n{stamp}.writing 2\n{stamp}.waiting 4\n")
    );
}

#[test]
fn the_page_of_nginx_survives_mutations() {
    crate::testing::mutate(&[PAGE.as_bytes()], |page| {
        parse(&String::from_utf8_lossy(page));
    });
}

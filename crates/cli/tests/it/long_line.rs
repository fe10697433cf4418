//! What becomes of a line that is longer than the writer's memory?

use crate::help::{Place, sorted};

/// Memory for 4 x 1000 bytes.
const SMALL: [&str; 3] = ["--queue-size=3", "--workers=1", "--size=1000"];

#[test]
fn it_is_reported_with_its_number_and_the_rest_is_written() {
    let place = Place::new();
    let long = "x".repeat(4001);
    let log = place.file("app.log", format!("first\n{long}\nthird\n{long}"));
    let ended = place.run(SMALL.into_iter().chain([log.to_str().unwrap()]), "");
    assert_eq!((ended.code, ended.records("refused")), (3, 2), "{ended:?}");
    assert!(ended.stderr.contains("app.log, line 2: 4002 bytes"), "{ended:?}");
    assert!(ended.stderr.contains("app.log, line 4: 4002 bytes"), "{ended:?}");
    assert_eq!(sorted(&place.written()), [b"first\n", b"third\n"]);
}

#[test]
fn one_that_fits_exactly_is_written_even_among_others() {
    let place = Place::new();
    let input = format!("before\n{}\nafter\n", "x".repeat(3999));
    let ended = place.run(SMALL, &input);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(sorted(&place.written()), sorted(input.as_bytes()));
}

#[test]
fn one_longer_than_a_block_of_the_reader_is_written() {
    let place = Place::new();
    let input = format!("before\n{}\nafter\n", "x".repeat(3_000_000));
    let ended = place.run([] as [&str; 0], &input);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(sorted(&place.written()), sorted(input.as_bytes()));
}

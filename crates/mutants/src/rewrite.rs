//! Writes the choices into the source of a file.

use std::ops::Range;

use crate::mutant::{Shape, Site};

/// The text of a file with its choices.
pub struct Rewritten {
    /// What the compiler gets.
    pub text: String,
    /// Where the code of each mutant is, with its index within the file.
    pub spans: Vec<(Range<usize>, usize)>,
    /// Where each place is, with its code of the source, and its mutants.
    pub sites: Vec<(Range<usize>, Vec<usize>)>,
}

/// What is put between two bytes of the source.
struct Insertion {
    at: usize,
    /// At the same byte, inner places close first, and outer ones open first. What closes stands before.
    order: (bool, isize),
    site: usize,
    /// Pieces of text, with the index of the mutant that each is for.
    pieces: Vec<(Option<usize>, String)>,
}

/// A file's text with the choices of those places. `first` is the number of the file's first mutant; those that
/// `is_kept` refuses are left out.
pub fn rewrite(
    text: &str,
    sites: &[Site],
    first: usize,
    is_kept: impl Fn(usize) -> bool,
) -> Rewritten {
    let mut insertions = Vec::new();
    for (site, Site { shape, choices }) in sites.iter().enumerate() {
        let kept: Vec<_> = choices.iter().filter(|(index, _)| is_kept(*index)).collect();
        if !kept.is_empty() {
            let order = isize::try_from(site).unwrap_or(isize::MAX);
            let (opens, closes) = pieces(shape, &kept, first);
            let (from, to) = ends(shape);
            insertions.push(Insertion { at: from, order: (true, order), site, pieces: opens });
            insertions.push(Insertion {
                at: to,
                order: (to == from, -order),
                site,
                pieces: closes,
            });
        }
    }
    insertions.sort_by_key(|insertion| (insertion.at, insertion.order));

    let mut out = Rewritten { text: String::new(), spans: vec![], sites: vec![] };
    let mut places = vec![(None, 0, vec![]); sites.len()];
    let mut copied = 0;
    for Insertion { at, site, pieces, .. } in insertions {
        out.text.push_str(&text[copied..at]);
        copied = at;
        let (begin, end, mutants) = &mut places[site];
        begin.get_or_insert(out.text.len());
        for (mutant, piece) in pieces {
            let start = out.text.len();
            out.text.push_str(&piece);
            if let Some(mutant) = mutant {
                out.spans.push((start..out.text.len(), mutant));
                mutants.push(mutant);
            }
        }
        *end = out.text.len();
    }
    out.text.push_str(&text[copied..]);
    let place = |(begin, end, mutants): (Option<usize>, usize, _)| Some((begin?..end, mutants));
    out.sites = places.into_iter().filter_map(place).collect();
    out
}

/// Where a place begins and ends.
fn ends(shape: &Shape) -> (usize, usize) {
    match shape {
        Shape::Return(at) | Shape::Arm(at) => (*at, *at),
        Shape::Expression(range) | Shape::GuardedArm(range) => (range.start, range.end),
    }
}

type Pieces = Vec<(Option<usize>, String)>;

/// What is put before and behind the source of a place.
fn pieces(shape: &Shape, kept: &[&(usize, String)], first: usize) -> (Pieces, Pieces) {
    let each = |piece: fn(&str, &str) -> String| -> Pieces {
        let one = |&&(index, ref code): &&(usize, String)| {
            (Some(index), piece(&format!("crate::mutants::active({})", first + index), code))
        };
        kept.iter().map(one).collect()
    };
    let text = |text: &str| vec![(None, text.to_owned())];
    match shape {
        Shape::Return(_) => {
            (each(|active, code| format!(" if {active} {{ return {code}; }}")), vec![])
        }
        Shape::Arm(_) => (each(|active, _| format!(" if !{active}")), vec![]),
        Shape::GuardedArm(_) => (each(|active, _| format!("!{active} && (")), text(")")),
        Shape::Expression(_) => {
            let choices = each(|active, code| format!("if {active} {{ {code} }} else "));
            // In its own parentheses: a block that begins with `match` would end with that.
            ([text("("), choices, text("{ (")].concat(), text(") })"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::find::find;

    /// The source with all its choices, without blanks that differ.
    fn rewritten(source: &str) -> String {
        let found = find("src/x.rs", source).unwrap();
        let out = rewrite(source, &found.sites, 10, |_| true);
        syn::parse_file(&out.text).unwrap_or_else(|error| panic!("{error}: {}", out.text));
        let out = out.text.replace("crate::mutants::active", "is");
        out.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_function_returns_another_value() {
        assert_eq!(
            rewritten("fn f() -> bool { g() }"),
            "fn f() -> bool { if is(10) { return true; } if is(11) { return false; } g() }"
        );
        assert_eq!(rewritten("fn f() { g() }"), "fn f() { if is(10) { return (); } g() }");
        assert_eq!(rewritten("fn f() -> ! { g() }"), "fn f() -> ! { g() }");
        assert_eq!(rewritten("fn f() -> bool { true }").matches("is(").count(), 1);
    }

    #[test]
    fn operators_are_nested_in_the_unchanged_branch_only() {
        assert_eq!(
            rewritten("fn f() -> ! { g(a && !b) }"),
            "fn f() -> ! { g((if is(10) { (a) || (!b) } else { \
             (a && (if is(11) { (b) } else { (!b) })) })) }"
        );
        assert_eq!(
            rewritten("fn f() -> ! { a += 1; g() }"),
            "fn f() -> ! { (if is(10) { (a) -= (1) } else if is(11) { (a) *= (1) } else { (a += 1) }); g() }"
        );
    }

    #[test]
    fn expressions_with_the_same_beginning_and_end() {
        let text = rewritten("fn f() -> ! { g(a == b && c == d) }");
        assert!(text.contains("{ ((if is(11) { (a) != (b) } else { (a == b) }) && (if"), "{text}");
        assert!(text.ends_with("else { (c == d) })) })) }"), "{text}");
    }

    #[test]
    fn an_operand_that_could_be_a_statement() {
        let text = rewritten("fn f() -> ! { g(match x { A => 2 } - 1) }");
        assert!(text.contains("else { (match x { A => 2 } - 1) })"), "{text}");
    }

    #[test]
    fn arms_and_guards() {
        assert_eq!(
            rewritten("fn f() -> ! { match x { A => g(), B if h() => i(), _ => j() } }"),
            "fn f() -> ! { match x { A if !is(10) => g(), B if !is(11) && ((if is(12) { true } \
             else if is(13) { false } else { (h()) })) => i(), _ => j() } }"
        );
        assert_eq!(
            rewritten("fn f() -> ! { match x { A => g(), B => h() } }"),
            "fn f() -> ! { match x { A => g(), B => h() } }"
        );
    }

    #[test]
    fn fields_that_have_a_default() {
        assert_eq!(
            rewritten("fn f() -> ! { g(S { a, b: 2, ..T }) }"),
            "fn f() -> ! { g((if is(10) { S { b: 2, ..T } } else if is(11) { S { a, ..T } } \
             else { (S { a, b: 2, ..T }) })) }"
        );
    }

    #[test]
    fn what_can_not_be_chosen_stays() {
        for source in [
            "const A: usize = 1 + 2;",
            "const fn f() -> ! { g(1 + 2) }",
            "fn f() -> ! { let x = [0; 1 + 2]; g() }",
            "fn f() -> ! { if let A = x && let B = y { g() } h() }",
            "unsafe fn f() -> bool { a + b }",
            "#[cfg(test)] mod tests { fn f() -> bool { g() } }",
            "#[cfg(loom)] fn f() -> bool { g() }",
            "impl S { fn new() -> S { g(1 + 2) } }",
            "fn f() -> impl I { g() }",
            "fn f() -> ! { assert!(a == b); g() }",
        ] {
            assert_eq!(rewritten(source), source);
        }
        let untried = |source| find("src/x.rs", source).unwrap().mutants.len();
        assert_eq!(untried("const A: usize = 1 + 2;"), 2);
        assert_eq!(untried("fn f() -> impl I { g() }"), 1);
    }

    #[test]
    fn what_is_refused_is_left_out_and_the_others_keep_their_numbers() {
        let source = "fn f() -> ! { g(a + b) }";
        let found = find("src/x.rs", source).unwrap();
        let out = rewrite(source, &found.sites, 0, |index| index == 1);
        assert!(out.text.contains("active(1)") && !out.text.contains("active(0)"), "{}", out.text);
        let (span, mutant) = &out.spans[0];
        assert_eq!(*mutant, 1);
        assert!(out.text[span.clone()].contains("(a) * (b)"));
        let (place, mutants) = &out.sites[0];
        assert_eq!(mutants, &[1]);
        assert!(
            out.text[place.clone()].starts_with('(') && out.text[place.clone()].ends_with("})")
        );
    }

    #[test]
    fn names_are_those_of_cargo_mutants() {
        let found =
            find("src/x.rs", "impl A for B<C> {\n    fn f(&self) -> bool { a == b }\n}").unwrap();
        let names: Vec<_> = found.mutants.iter().map(|mutant| mutant.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "src/x.rs:2:27: replace <impl A for B<C>>::f -> bool with true",
                "src/x.rs:2:27: replace <impl A for B<C>>::f -> bool with false",
                "src/x.rs:2:29: replace == with != in <impl A for B<C>>::f",
            ]
        );
    }
}

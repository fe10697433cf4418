//! What a mutant is, and where its code goes.

use std::ops::Range;

/// One change of the source.
#[derive(Clone, Debug, PartialEq)]
pub struct Mutant {
    /// `src/x.rs:12:9: replace + with - in f`, as cargo-mutants says it.
    pub name: String,
    /// Whether it can be chosen at run time. What is computed by the compiler can't.
    pub is_choosable: bool,
}

/// A place where the source lets the run choose.
#[derive(Clone, Debug, PartialEq)]
pub struct Site {
    /// How the choice is written, and where.
    pub shape: Shape,
    /// The mutants of this place by their indexes within the file, with their code.
    pub choices: Vec<(usize, String)>,
}

/// How a choice is written. Positions are bytes of the file.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// At the beginning of a function: return this instead.
    Return(usize),
    /// This expression, or another one.
    Expression(Range<usize>),
    /// Behind a pattern without a guard: never take this arm.
    Arm(usize),
    /// Around a guard: never take this arm.
    GuardedArm(Range<usize>),
}

/// What was found in a file.
#[derive(Debug, Default)]
pub struct Found {
    /// All mutants, in the order of the source.
    pub mutants: Vec<Mutant>,
    /// Their places. An outer one stands before those within it.
    pub sites: Vec<Site>,
}

//! The real program and what lasts: kills, the next life of the machine, a disk that fills up.
#![expect(
    clippy::disallowed_methods,
    reason = "the trials play a seeder, and wait for a real program"
)]

#[path = "../common/mod.rs"]
mod common;
#[path = "../namespace/mod.rs"]
mod namespace;
#[path = "../program/mod.rs"]
mod program;
mod seeder;
mod trials;

fn main() {
    namespace::run(trials::ALL, || {});
}

//! The `minitorrent` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    minitorrent::cli::run()
}

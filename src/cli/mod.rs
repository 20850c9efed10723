//! The command line: options in, exit status out.

mod demo;
mod exit;
mod face;
mod help;
mod logger;
mod options;
mod progress;
mod run;
mod show;
mod table;
mod terminal;
mod units;
mod values;

use std::process::ExitCode;

use self::exit::Exit;
use self::options::{Command, Options};

/// Runs the program on the process's arguments.
pub fn run() -> ExitCode {
    let arguments = std::env::args_os().skip(1).collect();
    let options = match Options::read(arguments) {
        Ok(options) => options,
        Err(error) => {
            let hint = "nothing was started, see --help";
            terminal::err(&format!("error[usage]: {}, {hint}", error.message));
            return Exit::Usage.into();
        }
    };
    logger::start(&options);
    let exit = match options.command {
        // One torrent is there: the options were checked.
        Command::Download | Command::Seed => run::run(&options, &options.torrents[0]),
        Command::Check => run::check(&options),
        Command::Show => show::show(&options),
        Command::Demo => demo::demo(&options),
        Command::Help => {
            terminal::out(&help::text());
            Exit::Complete
        }
        Command::Version => {
            terminal::out(concat!("minitorrent ", env!("CARGO_PKG_VERSION")));
            Exit::Complete
        }
    };
    exit.into()
}

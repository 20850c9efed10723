//! The command line: options in, exit status out.

mod check;
pub mod config_file;
mod create;
mod demo;
mod exit;
mod face;
mod generate;
mod help;
mod logger;
mod magnet;
mod options;
mod progress;
mod run;
mod scrape;
mod show;
mod table;
mod terminal;
mod units;
mod values;

use std::io;
use std::path::Path;
use std::process::ExitCode;

use self::exit::Exit;
use self::options::{Command, Homes, Options};
use crate::base::escape::escape_field;
use crate::client::Error;
use crate::reactor::Interrupts;

/// Runs the program on the process's arguments.
pub fn run() -> ExitCode {
    let arguments = std::env::args_os().skip(1).collect();
    let options = match Options::read(arguments, &Homes::from_env()) {
        Ok(options) => options,
        Err(error) => return usage(&error.message).into(),
    };
    let file = options.log_file.as_deref();
    if let Err(error) = logger::start(options.log_level, file) {
        let path = file.unwrap_or(Path::new("")).as_os_str();
        let path = escape_field(path.as_encoded_bytes());
        return usage(&format!("--log-file {path}: {error}")).into();
    }
    do_it(&options)
        .unwrap_or_else(|error| {
            terminal::err(&format!("error[{}]: {error}, ending", error.kind()));
            Exit::of(&error)
        })
        .into()
}

fn do_it(options: &Options) -> Result<Exit, Error> {
    let caught = |interrupts: io::Result<Interrupts>| {
        interrupts.map_err(|error| Error::System {
            what: "catch signals",
            error,
        })
    };
    let catch = || caught(Interrupts::catch());
    Ok(match options.command {
        Command::Download | Command::Seed => {
            run::run(options, &caught(Interrupts::catch_before_a_run())?)
        }
        Command::Check => check::check(options, &catch()?),
        Command::Show => show::show(options, &catch()?),
        Command::Create => create::create(options, &catch()?),
        Command::Magnet => magnet::magnet(options, &catch()?),
        Command::Scrape => scrape::scrape(options, &catch()?),
        Command::Demo => demo::demo(options),
        Command::Generate => match generate::text(&options.torrents[0]) {
            Some(text) => terminal::answer(text.trim_end(), &Interrupts::none()),
            None => usage(options::GENERATE_WHAT),
        },
        Command::Help => terminal::answer(&help::text(), &Interrupts::none()),
        Command::Version => {
            let version = concat!("minitorrent ", env!("CARGO_PKG_VERSION"));
            terminal::answer(version, &Interrupts::none())
        }
    })
}

fn usage(message: &str) -> Exit {
    terminal::err(&format!(
        "error[usage]: {message}, nothing was started, see --help"
    ));
    Exit::Usage
}

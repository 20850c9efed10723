//! `create`: a torrent file of files that are there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::exit::Exit;
use super::face::Face;
use super::options::Options;
use super::progress::Progress;
use super::{show, terminal};
use crate::base::escape::{escape, escape_field};
use crate::client::create::{Created, Creator};
use crate::client::{Error, write_whole};
use crate::reactor::Interrupts;

/// Makes the torrent file, and says what it is.
pub(super) fn create(options: &Options, interrupts: &Interrupts) -> Exit {
    let mut face = Face::new(Progress::None, options);
    make(options, &mut face, interrupts)
        .unwrap_or_else(|error| face.unread(&error, &options.torrents[0]))
}

fn make(options: &Options, face: &mut Face, interrupts: &Interrupts) -> Result<Exit, Error> {
    let mut recipe = options.recipe.clone();
    recipe.paths = options.torrents.iter().map(PathBuf::from).collect();
    let creator = Creator::new(recipe)?;
    let out = place(&options.plan.output_dir, creator.name());
    let to_stdout = out == Path::new("-");
    if !to_stdout && !options.plan.force && fs::symlink_metadata(&out).is_ok() {
        return Ok(is_there_already(&out));
    }
    let created = read(creator, options.quiet, interrupts)?;
    for path in &created.renamed {
        let path = escape_field(path.as_bytes());
        let message = format!("others will find a file as `{path}`: its own name is not for all");
        face.warning(std::time::Duration::ZERO, "create.name", &message);
    }
    if to_stdout {
        let wrote = interrupts.write(io::stdout().lock(), &created.bytes);
        return match wrote {
            Ok(()) => Ok(Exit::Complete),
            Err(_) if interrupts.came() => Err(Error::Interrupted),
            Err(why) => Err(write_error(&out, &why)),
        };
    }
    match write_whole(&out, &created.bytes, options.plan.force) {
        Ok(()) => {}
        Err(why) if why.kind() == io::ErrorKind::AlreadyExists => {
            return Ok(is_there_already(&out));
        }
        Err(why) => return Err(write_error(&out, &why)),
    }
    Ok(report(options, &created, &out, interrupts))
}

/// Where the torrent file goes: into a directory under the torrent's name, else to that very path.
fn place(out: &Path, name: &str) -> PathBuf {
    if out.is_dir() {
        out.join(format!("{name}.torrent"))
    } else {
        out.to_owned()
    }
}

/// Reads everything, with a bar on a terminal.
fn read(mut creator: Creator, quiet: bool, interrupts: &Interrupts) -> Result<Created, Error> {
    let (_, total) = creator.progress();
    let bar = if quiet || !terminal::can_redraw() {
        ProgressBar::hidden()
    } else {
        let target = ProgressDrawTarget::stderr_with_hz(DRAWS);
        ProgressBar::with_draw_target(Some(total), target)
    };
    if let Ok(style) = ProgressStyle::with_template("{prefix} [{bar:24}] {percent:>3}% hashing") {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_prefix(escape(creator.name().as_bytes(), NAME_MAX));
    while !creator.is_done() {
        let turned = match interrupts.came() {
            true => Err(Error::Interrupted),
            false => creator.turn(),
        };
        turned.inspect_err(|_| bar.finish_and_clear())?;
        bar.set_position(creator.progress().0);
    }
    bar.finish_and_clear();
    creator.finish()
}

fn report(options: &Options, created: &Created, out: &Path, interrupts: &Interrupts) -> Exit {
    let metainfo = &created.metainfo;
    if options.json {
        show::json(metainfo).map_or(Exit::Internal, |line| terminal::answer(&line, interrupts))
    } else if options.quiet {
        Exit::Complete
    } else {
        let pieces = metainfo.geometry.pieces();
        let hash = metainfo.info_hash;
        let line = format!("{}: {hash}, {pieces} pieces", shown(out));
        terminal::answer(&line, interrupts)
    }
}

fn is_there_already(out: &Path) -> Exit {
    let out = shown(out);
    super::usage(&format!("{out} is there already (--force replaces it)"))
}

fn write_error(out: &Path, why: &io::Error) -> Error {
    let message = format!("{}: {why}", shown(out));
    Error::CreateDisk { message }
}

fn shown(path: &Path) -> String {
    escape_field(path.as_os_str().as_encoded_bytes())
}

/// Draws a second at most.
const DRAWS: u8 = 5;
/// Characters of a name in front of the bar.
const NAME_MAX: usize = 30;

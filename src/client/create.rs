//! Making a torrent file: the files are listed, read once, hashed, and described.
//!
//! ```no_run
//! use minitorrent::client::create::{Creator, Recipe};
//!
//! let mut creator = Creator::new(Recipe::of(["holiday"]))?;
//! while !creator.is_done() {
//!     creator.turn()?;
//! }
//! std::fs::write("holiday.torrent", creator.finish()?.bytes)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use sha1::{Digest as _, Sha1};

use super::error::Error;
use crate::base::escape::escape_field;
use crate::base::limits;
use crate::wire::metainfo::Metainfo;
use crate::wire::metainfo::build::{Content, Draft, piece_length_for};

/// Reads and hashes the files of a torrent to be, a slice a turn.
pub struct Creator {
    draft: Draft,
    files: Vec<Listed>,
    /// The file that is being read.
    at: usize,
    open: Option<File>,
    /// Bytes read of it.
    into: u64,
    sha: Sha1,
    /// Bytes of the piece that are hashed.
    filled: u32,
    done: u64,
    total: u64,
    buffer: Vec<u8>,
}

/// What is to be made of which files.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// A file or a directory; several are put below a directory of the torrent's name.
    pub paths: Vec<PathBuf>,
    /// The torrent's name; needed with several paths, else that of the path.
    pub name: Option<String>,
    /// Bytes a piece, a power of two from 16 KiB; `None` chooses one.
    pub piece_length: Option<u32>,
    /// As in [`Draft`].
    pub private: bool,
    /// As in [`Draft`].
    pub source: Option<String>,
    /// As in [`Draft`].
    pub trackers: Vec<Vec<String>>,
    /// As in [`Draft`].
    pub web_seeds: Vec<String>,
    /// As in [`Draft`].
    pub comment: Option<String>,
    /// As in [`Draft`].
    pub creation_date: Option<i64>,
}

/// A torrent file that was made.
#[derive(Clone, Debug)]
pub struct Created {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What it says, as it is read by those who download it.
    pub metainfo: Metainfo,
    /// Files whose names others can't use as they are, as they will be called instead.
    pub renamed: Vec<String>,
}

/// A file as it was found.
struct Listed {
    place: PathBuf,
    path: Vec<String>,
    about: About,
}

/// What changes when a file does.
#[derive(Clone, Copy, PartialEq, Eq)]
struct About {
    len: u64,
    mtime: (i64, i64),
}

impl Recipe {
    /// The plainest torrent of these paths.
    pub fn of(paths: impl IntoIterator<Item = impl Into<PathBuf>>) -> Self {
        Self {
            paths: paths.into_iter().map(Into::into).collect(),
            name: None,
            piece_length: None,
            private: false,
            source: None,
            trackers: Vec::new(),
            web_seeds: Vec::new(),
            comment: None,
            creation_date: None,
        }
    }
}

impl Creator {
    /// Lists the files. Links that lead out of a directory, links to directories, devices and the like, and
    /// names that are not UTF-8 are refused.
    ///
    /// # Errors
    ///
    /// [`Error::Create`]: what can't be shared, and where; [`Error::CreateDisk`]: what can't be looked at.
    pub fn new(recipe: Recipe) -> Result<Self, Error> {
        let (name, mut files, single) = list(&recipe)?;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        if let Some(twice) = files.windows(2).find(|two| two[0].path == two[1].path) {
            return Err(error(&twice[1].place, "another file has the same name"));
        }
        let total = files
            .iter()
            .try_fold(0u64, |sum, file| sum.checked_add(file.about.len))
            .filter(|total| i64::try_from(*total).is_ok());
        let first = recipe.paths.first().map_or(Path::new(""), |path| path);
        let Some(total) = total else {
            return Err(error(first, "the files are too long together"));
        };
        if total == 0 {
            return Err(error(first, "there is no content"));
        }
        let piece_length = recipe
            .piece_length
            .unwrap_or_else(|| piece_length_for(total));
        if !piece_length.is_power_of_two()
            || !(limits::BLOCK..=limits::PIECE_LENGTH_MAX).contains(&piece_length)
        {
            let what = format!("pieces of {piece_length} bytes: no power of two from 16 KiB");
            return Err(error(first, &what));
        }
        let content = if single {
            Content::File(total)
        } else {
            let each = files.iter();
            Content::Directory(each.map(|f| (f.path.clone(), f.about.len)).collect())
        };
        Ok(Self {
            draft: Draft {
                name,
                content,
                piece_length,
                hashes: Vec::new(),
                private: recipe.private,
                source: recipe.source,
                trackers: recipe.trackers,
                web_seeds: recipe.web_seeds,
                comment: recipe.comment,
                created_by: Some(concat!("minitorrent/", env!("CARGO_PKG_VERSION")).into()),
                creation_date: recipe.creation_date,
            },
            files,
            at: 0,
            open: None,
            into: 0,
            sha: Sha1::new(),
            filled: 0,
            done: 0,
            total,
            buffer: vec![0; SLICE],
        })
    }

    /// Reads and hashes the next slice, at most 256 KiB.
    ///
    /// # Errors
    ///
    /// [`Error::CreateDisk`]: a file can't be read, or has changed since it was listed.
    pub fn turn(&mut self) -> Result<(), Error> {
        let Some(listed) = self.files.get(self.at) else {
            return Ok(());
        };
        let failed = |why: &io::Error| disk(&listed.place, &why.to_string());
        let changed = || disk(&listed.place, "it changed while it was read");
        let file = match &mut self.open {
            Some(file) => file,
            closed => {
                let file = open(&listed.place).map_err(|why| failed(&why))?;
                if about(&file).map_err(|why| failed(&why))? != Some(listed.about) {
                    return Err(changed());
                }
                closed.insert(file)
            }
        };
        let left = listed.about.len - self.into;
        let most = SLICE.min(usize::try_from(left).unwrap_or(SLICE));
        if most > 0 {
            let count = match file.read(&mut self.buffer[..most]) {
                Ok(0) => return Err(changed()),
                Ok(count) => count,
                Err(why) if why.kind() == io::ErrorKind::Interrupted => return Ok(()),
                Err(why) => return Err(failed(&why)),
            };
            self.into += count as u64;
            self.done += count as u64;
            feed(
                &mut self.draft,
                &mut self.sha,
                &mut self.filled,
                &self.buffer[..count],
            );
        }
        if self.into == listed.about.len {
            if about(file).map_err(|why| failed(&why))? != Some(listed.about) {
                return Err(changed());
            }
            self.open = None;
            self.into = 0;
            self.at += 1;
        }
        Ok(())
    }

    /// The torrent file, once all is read; it is read back as others will read it.
    ///
    /// # Errors
    ///
    /// [`Error::Create`]: not everything is read yet, or others would refuse the torrent.
    pub fn finish(mut self) -> Result<Created, Error> {
        let name = PathBuf::from(&self.draft.name);
        if !self.is_done() {
            return Err(error(&name, "it is not read to its end yet"));
        }
        if self.filled > 0 {
            self.draft.hashes.extend(self.sha.finalize_reset());
        }
        let bytes = self.draft.encode();
        let metainfo = Metainfo::parse(&bytes).map_err(|fault| error(&name, &fault.message))?;
        let single = matches!(self.draft.content, Content::File(_));
        let written = self.files.iter().map(|file| {
            if single {
                self.draft.name.clone()
            } else {
                format!("{}/{}", self.draft.name, file.path.join("/"))
            }
        });
        let renamed = metainfo.files.iter().zip(written);
        let renamed = renamed.filter(|(file, written)| file.path != *written);
        let renamed = renamed.map(|(file, _)| file.path.clone()).collect();
        Ok(Created {
            bytes,
            metainfo,
            renamed,
        })
    }

    /// Whether everything is read.
    pub fn is_done(&self) -> bool {
        self.at == self.files.len()
    }

    /// Bytes that are read, and all there are.
    pub fn progress(&self) -> (u64, u64) {
        (self.done, self.total)
    }

    /// The torrent's name.
    pub fn name(&self) -> &str {
        &self.draft.name
    }
}

/// Hashes `bytes`; whole pieces go into the draft.
fn feed(draft: &mut Draft, sha: &mut Sha1, filled: &mut u32, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let room = (draft.piece_length - *filled) as usize;
        let (now, later) = bytes.split_at(room.min(bytes.len()));
        sha.update(now);
        *filled += now.len() as u32;
        if *filled == draft.piece_length {
            draft.hashes.extend(sha.finalize_reset());
            *filled = 0;
        }
        bytes = later;
    }
}

/// The torrent's name, its files in no order, and whether it is a single file.
fn list(recipe: &Recipe) -> Result<(String, Vec<Listed>, bool), Error> {
    let mut files = Vec::new();
    let [path] = recipe.paths.as_slice() else {
        let Some(name) = &recipe.name else {
            return Err(error(Path::new(""), "several paths need a --name"));
        };
        for path in &recipe.paths {
            let root = real(path)?;
            let name = last_name(&root)?;
            walk(&root, &root, vec![name], &mut files)?;
        }
        return Ok((name.clone(), files, false));
    };
    let root = real(path)?;
    let name = match &recipe.name {
        Some(name) => name.clone(),
        None => last_name(&root)?,
    };
    walk(&root, &root, Vec::new(), &mut files)?;
    let single = files.iter().any(|file| file.path.is_empty());
    Ok((name, files, single))
}

/// Takes in a file, or everything below a directory. Ends because links to directories are refused, and paths
/// have a greatest length.
fn walk(
    root: &Path,
    place: &Path,
    path: Vec<String>,
    files: &mut Vec<Listed>,
) -> Result<(), Error> {
    let failed = |why: io::Error| unseen(place, &why);
    let found = fs::symlink_metadata(place).map_err(failed)?;
    if found.is_dir() {
        for entry in fs::read_dir(place).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let name = name
                .to_str()
                .ok_or_else(|| error(&entry.path(), "its name is not UTF-8"))?;
            let mut path = path.clone();
            path.push(name.to_owned());
            walk(root, &entry.path(), path, files)?;
        }
        return Ok(());
    }
    let found = if found.is_symlink() {
        let target = real(place)?;
        if !target.starts_with(root) {
            return Err(error(place, "a link that leads out of what is shared"));
        }
        let found = fs::metadata(&target).map_err(failed)?;
        if found.is_dir() {
            return Err(error(place, "a link to a directory"));
        }
        found
    } else {
        found
    };
    if !found.is_file() {
        return Err(error(place, "it is neither a file nor a directory"));
    }
    files.push(Listed {
        place: place.to_owned(),
        path,
        about: About::of(&found),
    });
    Ok(())
}

impl About {
    fn of(found: &fs::Metadata) -> Self {
        Self {
            len: found.len(),
            mtime: (found.mtime(), found.mtime_nsec()),
        }
    }
}

/// Opens a file; one that has become a FIFO is not waited for.
fn open(place: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let flags = OFlags::NONBLOCK.bits() as i32;
    options.read(true).custom_flags(flags).open(place)
}

/// What an open file is now; `None` if it is no file any more.
fn about(file: &File) -> io::Result<Option<About>> {
    let found = file.metadata()?;
    Ok(found.is_file().then(|| About::of(&found)))
}

fn real(path: &Path) -> Result<PathBuf, Error> {
    fs::canonicalize(path).map_err(|why| unseen(path, &why))
}

fn last_name(path: &Path) -> Result<String, Error> {
    let name = path
        .file_name()
        .ok_or_else(|| error(path, "it has no name"))?;
    let name = name.to_str();
    let name = name.ok_or_else(|| error(path, "its name is not UTF-8"))?;
    Ok(name.to_owned())
}

/// What is not there can't be meant; anything else is the disk's doing.
fn unseen(path: &Path, why: &io::Error) -> Error {
    match why.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            error(path, "there is no such file or directory")
        }
        _ => disk(path, &why.to_string()),
    }
}

fn error(path: &Path, what: &str) -> Error {
    let message = at(path, what);
    Error::Create { message }
}

fn disk(path: &Path, what: &str) -> Error {
    let message = at(path, what);
    Error::CreateDisk { message }
}

fn at(path: &Path, what: &str) -> String {
    let path = escape_field(path.as_os_str().as_encoded_bytes());
    match path.as_str() {
        "" => what.to_owned(),
        path => format!("{path}: {what}"),
    }
}

/// Bytes read at once.
const SLICE: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::base::ids::Piece;

    /// A directory that goes when the test ends.
    struct Dir(PathBuf);

    impl Dir {
        fn new(name: &str) -> Self {
            let name = format!("minitorrent-create-{name}-{}", std::process::id());
            let dir = std::env::temp_dir().join(name);
            let _ = fs::remove_dir_all(&dir);
            fs::create_dir_all(&dir).expect("a directory for the test");
            Self(fs::canonicalize(dir).expect("it was made"))
        }

        fn write(&self, path: &str, bytes: &[u8]) -> PathBuf {
            let path = self.0.join(path);
            fs::create_dir_all(path.parent().expect("below the root")).expect("a directory");
            fs::write(&path, bytes).expect("a file for the test");
            path
        }

        fn recipe(&self) -> Recipe {
            Recipe::of([self.0.clone()])
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn create(recipe: Recipe) -> Result<Created, Error> {
        let mut creator = Creator::new(recipe)?;
        while !creator.is_done() {
            creator.turn()?;
        }
        creator.finish()
    }

    fn why(recipe: Recipe) -> String {
        create(recipe).expect_err("it is refused").to_string()
    }

    #[test]
    fn the_files_of_a_directory_stand_in_order_and_their_pieces_run_across_them() {
        let dir = Dir::new("order");
        let bytes: Vec<u8> = (0..40_000u32).map(|n| (n * 7) as u8).collect();
        dir.write("b/z", &bytes[10_000..39_000]);
        dir.write("a", &bytes[..10_000]);
        dir.write("b.txt", &bytes[39_000..]);
        dir.write("empty", b"");
        let recipe = Recipe {
            name: Some("it".into()),
            ..dir.recipe()
        };
        let created = create(recipe.clone()).expect("a good directory");
        let files = created.metainfo.files.iter();
        let files: Vec<_> = files.map(|f| (f.path.as_str(), f.length)).collect();
        let expected = [
            ("it/a", 10_000),
            ("it/b/z", 29_000),
            ("it/b.txt", 1000),
            ("it/empty", 0),
        ];
        assert_eq!(files, expected);
        for (piece, bytes) in bytes.chunks(16_384).enumerate() {
            let hash: [u8; 20] = Sha1::digest(bytes).into();
            assert_eq!(created.metainfo.hash(Piece(piece as u32)), hash);
        }
        assert_eq!(created.bytes, create(recipe).expect("as before").bytes);
        assert!(created.renamed.is_empty());
    }

    #[test]
    fn what_is_no_file_or_leads_outside_is_refused() {
        let dir = Dir::new("links");
        dir.write("sub/a", b"a");
        symlink("/etc/hostname", dir.0.join("out")).expect("a link");
        assert!(why(dir.recipe()).ends_with("out: a link that leads out of what is shared"));
        fs::remove_file(dir.0.join("out")).expect("it was made");
        symlink("sub", dir.0.join("loop")).expect("a link");
        assert!(why(dir.recipe()).ends_with("loop: a link to a directory"));
        fs::remove_file(dir.0.join("loop")).expect("it was made");
        symlink("sub/a", dir.0.join("inner")).expect("a link");
        let created = create(dir.recipe()).expect("a link within");
        assert_eq!(created.metainfo.files.len(), 2);
        let device = Recipe::of(["/dev/null"]);
        assert_eq!(
            why(device),
            "/dev/null: it is neither a file nor a directory"
        );
    }

    #[test]
    fn names_that_are_not_utf_8_nothing_and_odd_pieces_are_refused() {
        let dir = Dir::new("odd");
        assert!(why(dir.recipe()).ends_with(": there is no content"));
        let file = dir.write("a", b"abc");
        let odd = Recipe {
            piece_length: Some(50_000),
            ..dir.recipe()
        };
        assert!(why(odd).ends_with("50000 bytes: no power of two from 16 KiB"));
        assert_eq!(
            why(Recipe::of([&file, &file])),
            "several paths need a --name"
        );
        let twice = Recipe {
            name: Some("x".into()),
            ..Recipe::of([&file, &file])
        };
        assert!(why(twice).ends_with("another file has the same name"));
        fs::write(dir.0.join(OsStr::from_bytes(b"\xff")), b"x").expect("a file");
        assert!(why(dir.recipe()).ends_with("its name is not UTF-8"));
    }

    #[test]
    fn a_file_that_grows_or_shrinks_meanwhile_is_noticed() {
        let dir = Dir::new("changes");
        let file = dir.write("a", &vec![1; SLICE + 1]);
        for len in [SLICE as u64, SLICE as u64 + 2] {
            fs::write(&file, vec![1; SLICE + 1]).expect("the file again");
            let mut creator = Creator::new(dir.recipe()).expect("a good directory");
            creator.turn().expect("the first slice");
            let open = OpenOptions::new().write(true).open(&file);
            open.and_then(|file| file.set_len(len))
                .expect("cut or longer");
            let why = creator.turn().expect_err("it is shorter or longer now");
            assert!(why.to_string().ends_with("it changed while it was read"));
        }
    }
}

//! The list of files: lengths, safe paths, padding and symbolic links (BEP 3, BEP 47).

use super::{FileEntry, FileKind, MetainfoError, Warning};
use crate::base::escape::escape_field;
use crate::base::geometry::FileTable;
use crate::base::limits;
use crate::wire::bencode::{BencodeError, Fault, Value};
use crate::wire::names;

/// The files of a torrent of that (safe) name, from its `length` or its list of `files`, with distinct paths.
pub(super) fn read(
    name: &str,
    length: Option<Value<'_>>,
    list: Option<Value<'_>>,
    warnings: &mut Vec<Warning>,
) -> Result<(Vec<FileEntry>, FileTable), MetainfoError> {
    let files = match (length, list) {
        (Some(_), Some(_)) => {
            let message = "there are both a length and a list of files";
            return Err(MetainfoError::new("torrent.ambiguous", message));
        }
        (None, None) => {
            return Err(length_error(
                "there is neither a length nor a list of files",
            ));
        }
        (Some(length), None) => vec![FileEntry {
            path: name.to_owned(),
            length: file_length(length)?,
            kind: FileKind::Regular,
        }],
        (None, Some(list)) => several(name, list, warnings)?,
    };
    let table = FileTable::new(files.iter().map(|file| file.length))
        .filter(|table| i64::try_from(table.total()).is_ok())
        .ok_or_else(|| length_error("the files are too long together"))?;
    Ok((files, table))
}

/// Whether an entry of the file list is padding (BEP 47), also as it was done before there was a word for it.
pub(super) fn is_pad(attributes: &[u8], path: Option<Value<'_>>, length: u64) -> bool {
    if attributes.contains(&b'p') {
        return true;
    }
    let mut elements = path.and_then(Value::as_strings).into_iter().flatten();
    match elements.next().flatten() {
        Some(b".pad") => {
            let is_length = |number| number == length.to_string().as_bytes();
            elements.next().flatten().is_some_and(is_length) && elements.next().is_none()
        }
        Some(name) if name.starts_with(b"_____padding_file_") => {
            elements.next().flatten().is_none()
        }
        Some(_) | None => false,
    }
}

fn several(
    name: &str,
    list: Value<'_>,
    warnings: &mut Vec<Warning>,
) -> Result<Vec<FileEntry>, MetainfoError> {
    let mut entries = list
        .as_list()
        .ok_or_else(|| MetainfoError::new("torrent.files", "the files are no list"))?;
    let mut files = Vec::new();
    let mut paths_len = 0;
    while let Some(fields) = entries.next_fields([b"length", b"path", b"path.utf-8", b"attr"]) {
        let file = entry(name, fields)?;
        paths_len += file.path.len();
        if paths_len > limits::PATHS_MAX {
            return Err(too_long("the paths of all files together are too long"));
        }
        files.push(file);
    }
    if files.is_empty() {
        return Err(length_error("the list of files is empty"));
    }
    files.shrink_to_fit();
    let mut links = files.iter().filter(|file| file.kind == FileKind::Symlink);
    if let Some(first) = links.next() {
        let first = escape_field(first.path.as_bytes());
        let message = format!(
            "{} symbolic links are not made: `{first}`",
            1 + links.count()
        );
        warnings.push(Warning::new("torrent.symlink-ignored", message));
    }
    rename_clashes(&mut files, warnings)?;
    Ok(files)
}

/// A file from its fields `length`, `path`, `path.utf-8` and `attr`.
fn entry(
    name: &str,
    fields: Result<[Option<Value<'_>>; 4], BencodeError>,
) -> Result<FileEntry, MetainfoError> {
    let [length, path, path_utf8, attributes] = fields.map_err(|error| match error.fault {
        Fault::Type => MetainfoError::new("torrent.files", "a file is no dictionary"),
        _ => error.into(),
    })?;
    let attributes = attributes.and_then(Value::as_bytes).unwrap_or_default();
    let is_link = attributes.contains(&b'l');
    let length = match length {
        Some(length) => file_length(length)?,
        None if is_link => 0,
        None => return Err(length_error("a file has no length")),
    };
    let kind = match (is_pad(attributes, path, length), is_link) {
        (true, _) => FileKind::Pad,
        // A link has no content; what has some is a file whatever it is called.
        (false, true) if length == 0 => FileKind::Symlink,
        (false, _) => FileKind::Regular,
    };
    let elements = path_utf8.filter(is_utf8_path).or(path);
    let path = match elements {
        Some(elements) => safe_path(name, elements)?,
        None => name.to_owned(),
    };
    let path = match (path.len() > name.len(), kind) {
        (true, _) => path,
        (false, FileKind::Pad) => format!("{name}/.pad/{length}"),
        (false, _) => return Err(MetainfoError::new("torrent.path", "a file has no path")),
    };
    Ok(FileEntry { path, length, kind })
}

/// The path of the file in the directory `name`; `name` alone if `elements` is no list, or an empty one.
fn safe_path(name: &str, elements: Value<'_>) -> Result<String, MetainfoError> {
    let room = elements.raw().len().min(limits::PATH_MAX);
    let mut path = String::with_capacity(name.len() + room);
    path.push_str(name);
    let elements = elements.as_strings().into_iter().flatten();
    for (index, element) in elements.enumerate() {
        let raw = element.ok_or_else(|| {
            MetainfoError::new("torrent.path", "an element of a path is no string")
        })?;
        path.push('/');
        path.push_str(&names::path_element(raw));
        // The torrent's name is the first element.
        if index + 2 > limits::PATH_DEPTH_MAX || path.len() > limits::PATH_MAX {
            return Err(too_long(&format!("`{}`", escape_field(path.as_bytes()))));
        }
    }
    path.shrink_to_fit();
    Ok(path)
}

fn is_utf8_path(path: &Value<'_>) -> bool {
    let is_utf8 =
        |element: Option<&[u8]>| element.is_some_and(|bytes| std::str::from_utf8(bytes).is_ok());
    let mut elements = path.as_strings().into_iter().flatten().peekable();
    elements.peek().is_some() && elements.all(is_utf8)
}

fn rename_clashes(
    files: &mut [FileEntry],
    warnings: &mut Vec<Warning>,
) -> Result<(), MetainfoError> {
    // Only what is written can be in another's way.
    let mut paths: Vec<&mut String> = files
        .iter_mut()
        .filter(|file| file.kind == FileKind::Regular)
        .map(|file| &mut file.path)
        .collect();
    let renamed = names::resolve_clashes(&mut paths).map_err(|names::TooManyClashes| {
        let message = format!("the paths of more than {} files clash", limits::RENAMES_MAX);
        MetainfoError::new("torrent.duplicate-names", message)
    })?;
    if let Some(first) = renamed.first() {
        let first = escape_field(paths[*first].as_bytes());
        let message = format!(
            "{} files renamed, their paths clash: `{first}`",
            renamed.len()
        );
        warnings.push(Warning::new("torrent.renamed", message));
    }
    Ok(())
}

/// A file's length: not below zero.
pub(super) fn file_length(value: Value<'_>) -> Result<u64, MetainfoError> {
    let length = value
        .as_int()
        .map_err(|error| MetainfoError::number("torrent.length", "length", error))?;
    u64::try_from(length).map_err(|_| length_error("a file's length is below zero"))
}

fn length_error(message: &str) -> MetainfoError {
    MetainfoError::new("torrent.length", message)
}

fn too_long(message: &str) -> MetainfoError {
    MetainfoError::new("torrent.path-too-long", message)
}

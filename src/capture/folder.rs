//! A capture as a whole: its folder, or one file of it.

use std::path::{Path, PathBuf};

use super::error::CaptureError;
use super::file::Reader;

/// The name of the file with this `number`, from 1.
pub fn file_name(number: u32) -> String {
    format!("capture-{number:05}.torana")
}

/// Opens every file of the capture at `path`, a folder or one file, in the order of their numbers. Files of another
/// capture in the same folder, and files that cannot be read, are an error: whoever has a part names that file.
pub fn open(path: &Path) -> Result<Vec<Reader>, CaptureError> {
    if !path.is_dir() {
        return Ok(vec![Reader::open(path)?]);
    }
    let paths = files(path)?;
    if paths.is_empty() {
        return Err(CaptureError::Empty { path: path.to_owned() });
    }
    let readers = paths.iter().map(|path| Reader::open(path)).collect::<Result<Vec<_>, _>>()?;
    if let [first, rest @ ..] = readers.as_slice()
        && let Some(other) = rest.iter().find(|reader| reader.head.capture_id != first.head.capture_id)
    {
        let what = format!("it is of another capture than {}: name one file", first.path().display());
        return Err(CaptureError::Damaged { path: other.path().to_owned(), at: 0, what });
    }
    Ok(readers)
}

/// The files of captures in `folder`, in the order of their numbers.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>, CaptureError> {
    let entries = std::fs::read_dir(folder).map_err(|error| CaptureError::io(folder, error))?;
    let is_capture = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with("capture-") && name.ends_with(".torana")
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(is_capture).collect();
    paths.sort();
    Ok(paths)
}

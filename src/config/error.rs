//! What is wrong with a configuration, and where.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

/// A configuration that torana does not start with.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read {}: {cause}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: std::io::Error,
    },
    /// One line for each thing that is wrong, each with its place.
    #[error("{}", lines(.0))]
    Invalid(Vec<Problem>),
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// `file:line`, the file alone, or the flag.
    pub place: String,
    /// What is wrong, and what to do.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}

/// Where something was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// Bytes of the file.
    At(Range<usize>),
    /// The file as a whole.
    File,
    /// A flag or argument of the command line.
    Flag(&'static str),
}

/// Collects what is wrong, so that one run names all of it.
pub(crate) struct Problems<'a> {
    file: &'a str,
    text: &'a str,
    /// With the line, to sort by.
    found: Vec<(Option<usize>, Problem)>,
}

impl<'a> Problems<'a> {
    /// None so far, in `text` of the file named `file`.
    pub fn new(file: &'a str, text: &'a str) -> Self {
        Problems { file, text, found: Vec::new() }
    }

    /// Adds what is wrong at `place`.
    pub fn add(&mut self, place: &Place, text: impl Into<String>) {
        let (line, place) = match place {
            Place::At(span) => {
                let line = self.line(span.start);
                (Some(line), format!("{}:{line}", self.file))
            }
            Place::File => (None, self.file.to_owned()),
            Place::Flag(flag) => (None, (*flag).to_owned()),
        };
        let problem = (line, Problem { place, text: text.into() });
        if !self.found.contains(&problem) {
            self.found.push(problem);
        }
    }

    /// The value if nothing is wrong, else all that is.
    pub fn finish<T>(self, value: T) -> Result<T, ConfigError> {
        if self.found.is_empty() { Ok(value) } else { Err(self.into_error()) }
    }

    /// All that is wrong, in the order of the file.
    pub fn into_error(mut self) -> ConfigError {
        self.found.sort_by_key(|(line, _)| *line);
        ConfigError::Invalid(self.found.into_iter().map(|(_, problem)| problem).collect())
    }

    fn line(&self, offset: usize) -> usize {
        self.text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
    }
}

/// What the user may have meant by `word`: the nearest of `candidates`, if any is near.
pub(crate) fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_ascii_lowercase();
    let distance = |candidate: &str| strsim::damerau_levenshtein(&word, &candidate.to_ascii_lowercase());
    let nearest = candidates.into_iter().map(|candidate| (distance(candidate), candidate)).min()?;
    (nearest.0 <= 1 + nearest.1.len() / 4).then_some(nearest.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_the_file_is_its_line() {
        let mut problems = Problems::new("t.toml", "a = 1\nb = 2\n");
        problems.add(&Place::At(6..7), "wrong");
        problems.add(&Place::At(6..7), "wrong");
        problems.add(&Place::Flag("--listen"), "too");
        let error = problems.finish(()).unwrap_err().to_string();
        assert_eq!(error, "--listen: too\nt.toml:2: wrong");
    }

    #[test]
    fn the_nearest_word_is_meant_and_a_far_one_is_not() {
        assert_eq!(did_you_mean("lisen", ["listen", "limits"]), Some("listen"));
        assert_eq!(did_you_mean("MAXPOOLSIZ", ["maxPoolSize", "minPoolSize"]), Some("maxPoolSize"));
        assert_eq!(did_you_mean("banana", ["listen", "limits"]), None);
    }
}

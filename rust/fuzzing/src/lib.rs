//! Fuzz targets as ordinary tests: [`fuzz!`] tests a property that must hold for any bytes.
//!
//! A target tests the files of its corpus first, then inputs made from them. These are the same in every run, and few
//! enough for a debug build. `FUZZ_INPUTS` sets their number, and `FUZZ_SEED` the seed that they follow from.

mod mutator;

use std::fs;
use std::io;
use std::path::Path;

use mutator::Mutator;

/// Tests a property, a `Fn(&[u8])` that panics for inputs that violate it, with the files of the package's folder
/// `corpus/<name>` and with `$inputs` inputs made from them.
#[macro_export]
macro_rules! fuzz {
    ($name:literal, $inputs:expr, $property:expr) => {
        $crate::run(
            ::std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/", $name)),
            $inputs,
            $property,
        )
        .expect("a corpus")
    };
}

/// Tests `property` with the files of `corpus` and with `inputs` inputs made from them; see [`fuzz!`].
///
/// # Errors
///
/// If the corpus can't be read or has no file, or an environment variable isn't a number.
pub fn run(corpus: &Path, inputs: u64, property: impl Fn(&[u8])) -> io::Result<()> {
    let inputs = number("FUZZ_INPUTS")?.unwrap_or(inputs);
    let seed = number("FUZZ_SEED")?.unwrap_or(42);
    let files = files(corpus)?;
    for (name, input) in &files {
        tested(&format!("the file {name}"), input, &property);
    }
    let mut mutator = Mutator::new(files.into_iter().map(|(_, input)| input).collect(), seed);
    for place in 0..inputs {
        let input = mutator.input();
        tested(&format_args!("number {place} of seed {seed}"), input, &property);
    }
    // Shown by `cargo test -- --nocapture`.
    println!("{inputs} inputs made from {}", corpus.display());
    Ok(())
}

/// Paths and contents of a corpus's files, sorted by path.
fn files(corpus: &Path) -> io::Result<Vec<(String, Vec<u8>)>> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", corpus.display()));
    let mut files = Vec::new();
    for entry in fs::read_dir(corpus).map_err(named)? {
        let path = entry.map_err(named)?.path();
        files.push((path.display().to_string(), fs::read(&path).map_err(named)?));
    }
    files.sort();
    match files.is_empty() {
        true => Err(named(io::ErrorKind::NotFound.into())),
        false => Ok(files),
    }
}

fn number(variable: &str) -> io::Result<Option<u64>> {
    let wrong = |why: &dyn std::fmt::Display| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("{variable}: {why}"))
    };
    match std::env::var_os(variable) {
        None => Ok(None),
        Some(value) => {
            let number = value.to_string_lossy().parse::<u64>();
            number.map(Some).map_err(|error| wrong(&error))
        }
    }
}

/// Prints the input if the property panics.
struct Tested<'a>(&'a dyn std::fmt::Display, &'a [u8]);

impl Drop for Tested<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the input, {}: b\"{}\"", self.0, self.1.escape_ascii());
        }
    }
}

fn tested(which: &dyn std::fmt::Display, input: &[u8], property: &impl Fn(&[u8])) {
    let tested = Tested(which, input);
    property(input);
    drop(tested);
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn corpus() -> &'static Path {
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))
    }

    #[test]
    fn a_property_is_given_the_corpus_and_the_same_inputs_every_time() {
        let given = || {
            let given = RefCell::new(Vec::new());
            run(corpus(), 500, |input| given.borrow_mut().push(input.to_vec())).expect("a corpus");
            given.into_inner()
        };
        let inputs = given();
        let files = files(corpus()).expect("a corpus");
        assert!(inputs.iter().zip(&files).all(|(input, (_, file))| input == file));
        assert!(inputs.len() >= files.len() + 500);
        assert_eq!(given(), inputs);
        let mut different = inputs.clone();
        different.sort();
        different.dedup();
        assert!(different.len() > inputs.len() / 2, "{}", different.len());
    }

    #[test]
    fn a_corpus_that_is_not_there_is_an_error() {
        let error = run(Path::new("/nowhere"), 1, |_| {}).expect_err("no corpus");
        assert!(error.to_string().contains("/nowhere"), "{error}");
    }
}

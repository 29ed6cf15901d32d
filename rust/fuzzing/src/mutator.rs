//! Makes inputs by changing the files of a corpus.

use fastrand::Rng;

/// Longest input, in bytes.
const LONGEST: usize = 64 * 1024;

/// Numbers at which behaviour may change: zero, one, and the limits of signed and unsigned numbers.
const NUMBERS: [u64; 8] = [
    0,
    1,
    0x7F,
    0x80,
    0x7FFF_FFFF,
    0x8000_0000,
    0x7FFF_FFFF_FFFF_FFFF,
    u64::MAX,
];

/// Makes inputs: each is a random file of the corpus with a few random changes.
pub(crate) struct Mutator {
    corpus: Vec<Vec<u8>>,
    random: Rng,
    input: Vec<u8>,
}

impl Mutator {
    /// The corpus must have at least one file.
    pub fn new(corpus: Vec<Vec<u8>>, seed: u64) -> Self {
        Self {
            corpus,
            random: Rng::with_seed(seed),
            input: Vec::new(),
        }
    }

    /// The next input.
    pub fn input(&mut self) -> &[u8] {
        let random = &mut self.random;
        self.input.clear();
        let file = &self.corpus[random.usize(..self.corpus.len())];
        self.input.extend_from_slice(file);
        // Mostly one or two changes: with many, a single one suffices for an input to be rejected.
        loop {
            let other = &self.corpus[random.usize(..self.corpus.len())];
            change(&mut self.input, other, random);
            self.input.truncate(LONGEST);
            if random.bool() {
                break;
            }
        }
        &self.input
    }
}

fn change(input: &mut Vec<u8>, other: &[u8], random: &mut Rng) {
    let at = random.usize(..=input.len());
    if at == input.len() {
        input.push(random.u8(..));
        return;
    }
    match random.u8(..11) {
        0 => input.truncate(at),
        1 => input[at] = random.u8(..),
        2 => input[at] ^= 1 << random.u8(..8),
        3 => input[at] = input[at].wrapping_add(random.u8(..5)).wrapping_sub(2),
        4 => {
            let removed = part(input, random);
            input.drain(removed);
        }
        5 => input.insert(at, random.u8(..)),
        6 => {
            let twice = input[part(input, random)].to_vec();
            input.splice(at..at, twice);
        }
        7 => {
            let number = NUMBERS[random.usize(..NUMBERS.len())];
            let (little, big) = (number.to_le_bytes(), number.to_be_bytes());
            let width = [1, 2, 4, 8][random.usize(..4)];
            let bytes = if random.bool() {
                &little[..width]
            } else {
                &big[8 - width..]
            };
            let end = input.len().min(at + width);
            input[at..end].copy_from_slice(&bytes[..end - at]);
        }
        8 => {
            let (from, to) = (part(input, random), part(input, random));
            let moved = input[from].to_vec();
            input.splice(to, moved);
        }
        9 => {
            let foreign = other[part(other, random)].to_vec();
            input.splice(at..at, foreign);
        }
        _ => {
            let (foreign, replaced) = (other[part(other, random)].to_vec(), part(input, random));
            input.splice(replaced, foreign);
        }
    }
}

/// A random range of the bytes. Half of the time it begins and ends with punctuation, which delimits values in a
/// text.
fn part(bytes: &[u8], random: &mut Rng) -> std::ops::Range<usize> {
    let from = random.usize(..=bytes.len());
    let longest = 1 << random.u8(..9);
    let to = bytes.len().min(from + random.usize(..=longest));
    if random.bool() {
        return from..to;
    }
    let next = |at: usize| {
        let found = bytes[at..].iter().position(u8::is_ascii_punctuation);
        found.map_or(bytes.len(), |steps| at + steps)
    };
    next(from)..next(to)
}

//! Faults of calls that concern one stream or one shard.

/// Which stream's and shard's calls a fault meets; those of any where it names none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Aim {
    pub stream: Option<String>,
    pub shard: Option<String>,
}

/// What a call concerns, as far as it says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Target {
    pub stream: Option<String>,
    pub shard: Option<String>,
}

impl Aim {
    /// Whether a call that concerns this is met.
    pub fn meets(&self, target: &Target) -> bool {
        let fits = |aim: &Option<String>, name: &Option<String>| aim.is_none() || aim == name;
        fits(&self.stream, &target.stream) && fits(&self.shard, &target.shard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meets_what_it_names() {
        let name = |name: &str| Some(name.to_owned());
        let call = Target {
            stream: name("s"),
            shard: name("1"),
        };
        let unknown = Target::default();
        for (stream, shard, meets) in [
            (None, None, (true, true)),
            (name("s"), None, (true, false)),
            (name("s"), name("1"), (true, false)),
            (None, name("2"), (false, false)),
            (name("t"), name("1"), (false, false)),
        ] {
            let aim = Aim { stream, shard };
            assert_eq!((aim.meets(&call), aim.meets(&unknown)), meets, "{aim:?}");
        }
    }
}

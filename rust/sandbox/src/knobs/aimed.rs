//! Aim of a call fault: one stream, one shard, or any.

/// Stream and shard whose calls a fault affects. `None` matches any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Aim {
    pub stream: Option<String>,
    pub shard: Option<String>,
}

/// Stream and shard of a call, as far as its request names them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Target {
    pub stream: Option<String>,
    pub shard: Option<String>,
}

impl Aim {
    /// Whether the fault affects calls with this target.
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

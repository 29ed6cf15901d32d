//! Locations in S3: from a Hadoop path to a bucket and a key prefix.

/// A folder of a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Location {
    /// The bucket.
    pub bucket: String,
    /// Prefix of all keys in the folder: empty, or with a slash at its end.
    pub prefix: String,
}

/// Maximum length of a key in bytes ("Naming Amazon S3 objects").
const LONGEST_KEY: usize = 1024;
/// Maximum length that a claim's key adds to the prefix: a source's UUID, a batch in twenty digits, and a shard's ID,
/// with slashes.
const OWN_PART: usize = 36 + 1 + 20 + 1 + 128;

impl S3Location {
    /// Parses a path: `Ok(None)` if it is not in S3, and the reason if it is but can't be used. As in Hadoop's own
    /// paths, nothing is percent-decoded, and `//`, `.` and `..` have their meaning in a file system.
    pub fn parse(path: &str) -> Result<Option<Self>, String> {
        let Some((scheme, rest)) = path.split_once(':') else {
            return Ok(None);
        };
        if !["s3", "s3a", "s3n"]
            .iter()
            .any(|s3| scheme.eq_ignore_ascii_case(s3))
        {
            return Ok(None);
        }
        let rest = rest
            .strip_prefix("//")
            .ok_or("it names no bucket, as s3://bucket/path does")?;
        let (bucket, folder) = rest.split_once('/').unwrap_or((rest, ""));
        // Letters of either case: buckets from before 2018 may have them.
        let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if bucket.len() < 3 || !bucket.chars().all(fits) {
            return Err("it names no bucket, as s3://bucket/path does".to_owned());
        }
        // The listing of a directory bucket is not in the order of keys.
        if bucket.ends_with("--x-s3") {
            return Err("directory buckets (S3 Express One Zone) are not supported".to_owned());
        }
        let mut names = Vec::new();
        for name in folder.split('/') {
            match name {
                "" | "." => {}
                ".." => {
                    names.pop();
                }
                name => names.push(name),
            }
        }
        let mut prefix = names.join("/");
        if !prefix.is_empty() {
            prefix.push('/');
        }
        if prefix.len() + OWN_PART > LONGEST_KEY {
            return Err(format!("it is longer than {} bytes", LONGEST_KEY - OWN_PART));
        }
        if prefix.chars().any(char::is_control) {
            return Err("it contains a control character".to_owned());
        }
        Ok(Some(Self {
            bucket: bucket.to_owned(),
            prefix,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_s3_are_bucket_and_prefix() {
        for (path, bucket, prefix) in [
            ("s3://bucket", "bucket", ""),
            ("s3://bucket/", "bucket", ""),
            ("S3A://my.dotted.bucket/a/b", "my.dotted.bucket", "a/b/"),
            ("s3n://Old_Bucket//a/./x/../b//", "Old_Bucket", "a/b/"),
            (
                "s3a://bucket/with space/ü+%20%/c",
                "bucket",
                "with space/ü+%20%/c/",
            ),
        ] {
            let expected = S3Location {
                bucket: bucket.to_owned(),
                prefix: prefix.to_owned(),
            };
            assert_eq!(S3Location::parse(path), Ok(Some(expected)), "{path}");
        }
    }

    #[test]
    fn other_paths_are_none() {
        for path in ["/s3/x", "hdfs://s3/x", "file:/s3:/x", "s3", "oss://bucket/x"] {
            assert_eq!(S3Location::parse(path), Ok(None), "{path}");
        }
    }

    #[test]
    fn paths_without_a_usable_bucket_are_refused() {
        for (path, why) in [
            ("s3:/bucket/x", "names no bucket"),
            ("s3://", "names no bucket"),
            ("s3a:///x", "names no bucket"),
            ("s3a://key:secret@bucket/x", "names no bucket"),
            ("s3://b--usw2-az1--x-s3/x", "directory buckets"),
            ("s3://bucket/a\nb", "control character"),
        ] {
            let error = S3Location::parse(path).expect_err(path);
            assert!(error.contains(why), "{path}: {error}");
        }
        let long = format!("s3://bucket/{}", "x".repeat(900));
        assert!(
            S3Location::parse(&long)
                .expect_err("long")
                .contains("longer than")
        );
    }
}

//! Checkpoints that can't be taken over.
use super::{Old, RESHARD, assert_says, files_in, put, refused};
use crate::support::{BOTH_CONSUMERS, STREAM, World};
use kinesis_connector::ErrorKind;
use tempfile::TempDir;

#[tokio::test]
async fn the_checkpoint_of_a_stream_that_had_more_shards_is_refused() {
    let world = World::with_shards(1).await;
    let old = Old::with(RESHARD, |number| number.to_owned());
    let error = refused(old.try_query(&world, &[]).await).await;
    assert_says(
        &error,
        &["which the stream never had", "kinesis.importCheckpoint"],
    );
    assert!(!world.checkpoint.path().join("initial-offset").exists());
}

#[tokio::test]
async fn what_is_no_checkpoint_to_go_on_from_is_refused_and_nothing_is_kept() {
    let world = World::with_shards(2).await;
    put(&world, 0..80).await;
    let kept = world.checkpoint.path().join("initial-offset");
    let old = Old::of("GetRecords-hdfs", &world).await;
    let import = |path: &str| ("kinesis.importCheckpoint", path.to_owned());
    let empty = TempDir::new().expect("a folder");
    let other = Old::with("GetRecords-hdfs", |number| number.to_owned());
    let of_other_stream = Old::of("GetRecords-hdfs", &world).await;
    for batch in 0..2 {
        let file = of_other_stream.file(&format!("offsets/{batch}"));
        let text = std::fs::read_to_string(&file).expect("text");
        std::fs::write(&file, text.replace(STREAM, "others")).expect("written");
    }
    let own = TempDir::new().expect("a folder");
    std::fs::create_dir(own.path().join("offsets")).expect("made");
    let offset = r#"{"version":1,"source":"s","stream":"events","created":1,"batch":1,"shards":{}}"#;
    std::fs::write(own.path().join("offsets/0"), format!("v1\n{{}}\n{offset}")).expect("written");
    for (path, says) in [
        (
            empty.path().to_string_lossy().into_owned(),
            "there is no query's offset log in it",
        ),
        (
            format!("{}/sources/0", old.path()),
            "there is no query's offset log in it",
        ),
        (
            of_other_stream.path(),
            "it is one of the stream others, not of events",
        ),
        (
            own.path().to_string_lossy().into_owned(),
            "it is one of this connector",
        ),
        // The stream was deleted and recreated.
        (other.path(), "which the service does not take"),
    ] {
        let (key, path) = import(&path);
        let error = refused(world.try_query(&[(key, path.as_str())]).await).await;
        assert_eq!(error.kind(), ErrorKind::InvalidOption, "{error}");
        assert_says(&error, &[says, "kinesis.importCheckpoint"]);
        assert!(!kept.exists());
    }
}

#[tokio::test]
async fn a_foreign_checkpoint_location_is_refused_with_the_way_on_and_left_alone() {
    let world = World::with_shards(2).await;
    put(&world, 0..80).await;
    for options in BOTH_CONSUMERS {
        let old = Old::of("GetRecords-hdfs", &world).await;
        let before = files_in(old.0.path());
        let mut config = world.config(options);
        config.checkpoint_location = Some(format!("{}/sources/0", old.path()));
        let error = refused(world.query_of(config).await).await;
        assert_eq!(error.kind(), ErrorKind::CorruptCheckpoint, "{error}");
        let way_on = format!("set kinesis.importCheckpoint to {}", old.path());
        assert_says(
            &error,
            &[
                "the AWS connector",
                "new, empty checkpointLocation",
                &way_on,
                "docs/migrating.md",
            ],
        );
        assert_eq!(files_in(old.0.path()), before, "nothing was written");
    }
    let arn = "arn:aws:kinesis:us-east-1:000000000000:stream/events";
    let consumers = world.client.list_stream_consumers().stream_arn(arn).send().await;
    assert!(consumers.is_err() || consumers.is_ok_and(|listed| listed.consumers().is_empty()));
}

#[tokio::test]
async fn the_checkpoint_of_another_source_is_refused_too() {
    let world = World::with_shards(1).await;
    let other = TempDir::new().expect("a folder");
    std::fs::create_dir(other.path().join("offsets")).expect("made");
    std::fs::write(other.path().join("offsets/3"), "v1\n{}\n{\"orders\":{\"0\":17}}").expect("written");
    let mut config = world.config(&[]);
    config.checkpoint_location = Some(format!("{}/sources/0", other.path().to_string_lossy()));
    let error = refused(world.query_of(config).await).await;
    assert_says(&error, &["is one of another source", "kinesis.startingPositions"]);
}

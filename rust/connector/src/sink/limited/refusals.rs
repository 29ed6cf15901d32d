//! The part of its entries that a job has refused by shards at the service's limits, from the first request to a new
//! stream to the last. The jobs are those of the sink's benchmark (docs/performance.md).

use futures_util::StreamExt;

use super::super::fake::Round;
use super::*;

/// Partitions of a job, and the number that is written at a time.
const PARTITIONS: usize = 16;
const AT_A_TIME: usize = 2;

/// Time until a partition's first row, in which the shards recover.
const START: Duration = Duration::from_millis(50);

/// Greatest refused fraction of plain records.
const PLAIN: f64 = 0.025;

/// Greatest refused fraction of aggregates. They are few, so that those refused at the start weigh more.
const AGGREGATES: f64 = 0.04;

/// Rows of one size for a stream with this number of shards.
#[derive(Clone, Copy, Debug)]
struct Job {
    shards: usize,
    bytes: usize,
    /// Time that the limits require.
    seconds: usize,
    aggregation: bool,
}

impl Job {
    /// Number of rows in a partition.
    fn rows(&self) -> usize {
        let by_bytes = (1 << 20) as f64 / (self.bytes as f64 + 8.0);
        let a_second = match self.aggregation {
            true => by_bytes,
            false => by_bytes.min(1_000.0),
        };
        (a_second * (self.seconds * self.shards) as f64) as usize / PARTITIONS
    }

    /// Writes all partitions.
    async fn run(&self, stream: &Arc<FakeStream>) {
        let shared = Arc::<SinkStream>::default();
        let settings = WriterSettings {
            aggregation: self.aggregation,
            ..defaults()
        };
        let (data, rows) = (Bytes::from(vec![b'a'; self.bytes]), self.rows());
        let partitions = (0..PARTITIONS).map(|partition| {
            let api = Arc::<FakeStream>::clone(stream);
            let writer = StreamWriter::sharing(api, settings.clone(), Arc::clone(&shared)).unwrap();
            let (data, end) = (data.clone(), (partition + 1) * rows);
            tokio::spawn(async move {
                tokio::time::sleep(START).await;
                for first in (partition * rows..end).step_by(100) {
                    let mut rows = records(first..end.min(first + 100));
                    rows.iter_mut().for_each(|row| row.data = data.clone());
                    writer.write(rows).await.unwrap();
                }
                writer.flush().await.unwrap();
            })
        });
        let partitions = futures_util::stream::iter(partitions).buffer_unordered(AT_A_TIME);
        partitions.for_each(|ended| async { ended.unwrap() }).await;
    }

    /// Runs the job. At most `most` of its entries, and of their rows, may be refused.
    async fn refuses_at_most(self, most: f64) {
        fastrand::seed(1);
        let stream = FakeStream::forgetful(Limits::of(Model::Bucket, self.shards));
        let start = Instant::now();
        self.run(&stream).await;
        let rounds = stream.rounds();
        let sum = |of: fn(&Round) -> usize| rounds.iter().map(of).sum::<usize>() as f64;
        let rate = stream.least_seconds() / start.elapsed().as_secs_f64();
        let refused = sum(|round| round.refused) / sum(|round| round.sent);
        // All rows have the same size.
        let rows_refused = sum(|round| round.bytes_refused) / sum(|round| round.bytes);
        println!("{self:?}: {rate:.3} of the rate, {refused:.3} refused, {rows_refused:.3} of the rows");
        assert!(rate >= 0.95, "{self:?}: {rate}");
        assert!(
            refused < most && rows_refused < most,
            "{self:?}: {refused}, {rows_refused}"
        );
    }
}

async fn plain(shards: usize, bytes: usize) {
    let job = Job {
        shards,
        bytes,
        seconds: 60,
        aggregation: false,
    };
    job.refuses_at_most(PLAIN).await;
}

async fn aggregates(shards: usize, bytes: usize) {
    let job = Job {
        shards,
        bytes,
        seconds: 60,
        aggregation: true,
    };
    job.refuses_at_most(AGGREGATES).await;
}

#[tokio::test(start_paused = true)]
async fn few_shards_refuse_few_plain_records() {
    plain(4, 1_024).await;
    plain(4, 100).await;
}

#[tokio::test(start_paused = true)]
async fn many_shards_refuse_few_plain_records() {
    // By the number of records, this is also the case of 100 bytes.
    plain(32, 1_024).await;
}

#[tokio::test(start_paused = true)]
async fn few_shards_refuse_few_aggregates() {
    aggregates(4, 1_024).await;
    aggregates(4, 100).await;
}

#[tokio::test(start_paused = true)]
async fn many_shards_refuse_few_aggregates() {
    // Rows of 100 bytes would be millions, in aggregates of the same size.
    aggregates(32, 1_024).await;
}

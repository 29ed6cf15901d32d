//! Unusual responses that the service gives now and then, though nothing is wrong.

use kinesis_connector::stream::ShardId;
use kinesis_connector::{Error, ErrorKind, Result};

use crate::history::{Call, Odd};
use crate::stream::Stream;

/// The pending odd responses.
#[derive(Debug, Default)]
pub struct OddAnswers {
    not_found: Vec<(ShardId, Call)>,
    refused: Vec<ShardId>,
    throttled: u8,
}

impl Stream {
    /// Plans an odd response.
    pub fn answer_oddly(&mut self, odd: Odd) {
        match odd {
            Odd::NotFound { shard, call } => {
                let shard = self.some_shard(shard);
                self.odd.not_found.push((shard, call));
            }
            Odd::Refused { shard } => {
                let shard = self.some_shard(shard);
                self.odd.refused.push(shard);
            }
            Odd::Throttled { calls } => self.odd.throttled += calls,
            Odd::GoesBack { listings } => self.go_back(listings),
        }
    }

    fn some_shard(&self, which: u8) -> ShardId {
        let listed: Vec<&ShardId> = self
            .shards
            .iter()
            .filter(|shard| !shard.gone)
            .map(|shard| &shard.shard.id)
            .collect();
        listed[usize::from(which) % listed.len()].clone()
    }
}

impl OddAnswers {
    /// Fails if an odd response is pending for this call.
    pub fn meet(&mut self, shard: &ShardId, call: Call) -> Result<()> {
        if call == Call::GetRecords && self.throttled > 0 {
            self.throttled -= 1;
            return Err(Error::new(ErrorKind::Throttled, "others ask, too").retryable(true));
        }
        if take(&mut self.not_found, &(shard.clone(), call)) {
            return Err(Error::new(
                ErrorKind::NotFound,
                format!("there is no shard {shard}, or so it seems"),
            ));
        }
        Ok(())
    }

    /// Fails if a refusal is pending for a sequence number of the shard.
    pub fn refuse(&mut self, shard: &ShardId) -> Result<()> {
        match take(&mut self.refused, shard) {
            true => Err(refused()),
            false => Ok(()),
        }
    }
}

pub fn refused() -> Error {
    Error::new(ErrorKind::RefusedPosition, "that is no number of the shard")
}

fn take<T: PartialEq>(planned: &mut Vec<T>, wanted: &T) -> bool {
    let found = planned.iter().position(|planned| planned == wanted);
    found.map(|found| planned.swap_remove(found)).is_some()
}
